/** What was asked of the bridges beside changes, to be compared with what became of it. */
export interface Asked {
  readonly backfills: readonly AskedBackfill[];
  readonly replays: readonly AskedReplay[];
}

/** The number of each row's last change, by the row's name. */
export type RowVersions = ReadonlyMap<string, number>;

export interface AskedBackfill {
  readonly id: string;
  readonly webhook: string;
  readonly doctype: string;
  /** Only rows for which this holds; null: all. */
  readonly condition: string | null;
  /** Rows that were meant when it was asked for. */
  readonly before: RowVersions;
  /** Rows that were meant when it was seen to be done; null: it was not, or not yet. */
  after: RowVersions | null;
}

export interface AskedReplay {
  readonly id: string;
  readonly webhook: string;
  /** Deliveries that it is about, as the log said in the transaction that asked; more may have been logged later. */
  readonly deliveries: readonly string[];
  /** The server's clock, in ms. */
  readonly askedAtMs: number;
  isStopped: boolean;
}
