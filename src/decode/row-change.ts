import type { Lsn } from "../replication/lsn.ts";
import type { Position } from "./position.ts";
import type { Relation } from "./relation.ts";

/** What Begin says of a transaction; nothing has to be kept until Commit. */
export interface Transaction {
  readonly commitLsn: Lsn;
  /** Microseconds since 1970-01-01 UTC. */
  readonly commitTimeUs: bigint;
  /** The top-level transaction id, unsigned 32 bits. */
  readonly xid: number;
}

/**
 * One row's values, aligned with `relation.columns`, as Postgres' own text.
 * `null` is SQL NULL; `undefined` is a value that the WAL does not carry: unknown, which is never NULL.
 */
export type Row = readonly (string | null | undefined)[];

interface Change {
  readonly transaction: Transaction;
  readonly position: Position;
  readonly relation: Relation;
  /**
   * Indexes of columns whose value (in `new`; for a delete in `old`) was sent but makes the row too large to be
   * decoded, and so is `undefined` there. Absent where there are none, which is nearly always.
   */
  readonly oversized?: readonly number[];
}

/** A committed change. `old` is null where the WAL says nothing of the row before. */
export type RowChange =
  | (Change & { readonly kind: "insert"; readonly new: Row })
  | (Change & { readonly kind: "update"; readonly new: Row; readonly old: Row | null })
  | (Change & { readonly kind: "delete"; readonly old: Row })
  | (Change & { readonly kind: "truncate" });
