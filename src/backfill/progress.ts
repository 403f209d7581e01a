/** The values of a row's primary key, in the key's order, as Postgres' texts. */
export type Key = readonly string[];

/** How far a backfill is: what a restart goes on from. */
export interface Progress {
  readonly backfillId: string;
  /** Rows up to it are done, but for pending ones. */
  readonly lastKey: Key | null;
  /** Rows that an earlier version wanted to read again. */
  readonly pending: readonly Key[];
  readonly rowsDone: number;
  readonly rowsSent: number;
}

/** What became of some rows that were read. */
export interface Settled {
  /** They were the first pending one; else they went on in key order. */
  readonly wasPending: boolean;
  /** How far the table was read with them; null: no further than before. */
  readonly reached: Key | null;
  readonly rows: number;
  readonly sent: number;
}

/** How far it is behind them. Rows that had a newer delivery are done as well, and so are pending ones that are gone. */
export function advance(before: Progress, { wasPending, reached, rows, sent }: Settled): Progress {
  return {
    ...before,
    lastKey: wasPending ? before.lastKey : (reached ?? before.lastKey),
    pending: wasPending ? before.pending.slice(1) : before.pending,
    rowsDone: before.rowsDone + (wasPending ? 1 : rows),
    rowsSent: before.rowsSent + sent,
  };
}
