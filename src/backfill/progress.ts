/** The values of a row's primary key, in the key's order, as Postgres' texts. */
export type Key = readonly string[];

/** How far a backfill is: what a restart goes on from. */
export interface Progress {
  readonly backfillId: string;
  /** Rows up to it are done, but for pending ones. */
  readonly lastKey: Key | null;
  /** Rows that changed while they were read: they are read again. */
  readonly pending: readonly Key[];
  readonly rowsDone: number;
  readonly rowsSent: number;
}

/** What became of a chunk of rows. */
export interface Settled {
  /** The keys that were asked for again; null: the chunk went on in key order. */
  readonly asked: readonly Key[] | null;
  /** Keys of the rows that were read, in order. */
  readonly read: readonly Key[];
  /** Those of them that changed meanwhile without a delivery of their own. */
  readonly again: readonly Key[];
  readonly sent: number;
}

/** How far it is behind a chunk. Rows that are gone, or had a newer delivery, are done as well. */
export function advance(before: Progress, { asked, read, again, sent }: Settled): Progress {
  const met = asked === null ? read.length : asked.length;
  const left = asked === null ? before.pending : before.pending.slice(asked.length);
  return {
    ...before,
    lastKey: asked === null ? (read.at(-1) ?? before.lastKey) : before.lastKey,
    pending: [...left, ...again],
    rowsDone: before.rowsDone + met - again.length,
    rowsSent: before.rowsSent + sent,
  };
}
