import type { Lsn } from "../replication/lsn.ts";

/**
 * The place of a change in the stream. Commit LSNs order transactions; change LSNs order changes inside
 * one transaction only; several changes can share a change LSN (COPY, multi-row inserts), hence the index.
 */
export interface Position {
  readonly commitLsn: Lsn;
  readonly changeLsn: Lsn;
  /** Counts the published changes at `changeLsn` inside this transaction, from 0. */
  readonly index: number;
}

/** Before everything. */
export const START: Position = { commitLsn: 0n, changeLsn: 0n, index: 0 };

/** Negative when `a` comes before `b` in the stream, 0 when they are the same place, else positive. */
export function comparePositions(a: Position, b: Position): number {
  if (a.commitLsn !== b.commitLsn) return a.commitLsn < b.commitLsn ? -1 : 1;
  if (a.changeLsn !== b.changeLsn) return a.changeLsn < b.changeLsn ? -1 : 1;
  return a.index - b.index;
}
