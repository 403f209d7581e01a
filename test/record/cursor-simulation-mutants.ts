/** Known mistakes, made around the real classes, to see that the simulation finds each of them. */
export const MUTANTS = [
  /** The library's `acknowledge` without the correction: one byte too far. */
  "acknowledge-plus-one",
  /** What was received counts as done. */
  "acknowledge-received",
  /** A checkpoint is acknowledged while it is being written. */
  "acknowledge-before-durable",
  /** A keepalive overtakes changes that wait for the catalog. */
  "keepalive-ahead",
  /** A keepalive counts inside of a transaction. */
  "keepalive-inside",
  /** The cursor is stored in a transaction of its own, before or after the rows. */
  "cursor-outside",
  /** A restart leaves out the rest of the transaction that the cursor stands in. */
  "resume-behind-transaction",
  /** A restart takes changes that share an LSN for one. */
  "resume-without-index",
  /** Rows of the log are written as soon as an attempt ends. */
  "log-above-cursor",
  /** A delivery that is being sent when its grace ends gets no row in the queue. */
  "sending-not-queued",
  /** Something is merged behind a configuration change. */
  "merged-behind-configuration",
  /** A part of a chunk acknowledges all of it. */
  "part-as-whole",
  /** A checkpoint that was not committed counts as one that was. */
  "failed-write-ignored",
  /** A bridge that was taken over goes on writing. */
  "epoch-not-checked",
  /** The cursor is read, and only then the epoch raised. */
  "cursor-read-early",
  /** The place where an orderly stop left the slot is believed for ever. */
  "stopped-place-kept",
  /** What is acknowledged without being stored has no bound. */
  "unstored-without-bound",
] as const;

export type Mutant = (typeof MUTANTS)[number] | null;
