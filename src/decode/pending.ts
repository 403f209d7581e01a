import type { Lsn } from "../replication/lsn.ts";
import type { ConfigurationChange } from "./chunk.ts";
import type { Position } from "./position.ts";
import type { RelationEntry } from "./relation-tracker.ts";
import type { Row, Transaction } from "./row-change.ts";

/** The rows of a change, before it is known what its table's columns mean. */
export type RowImages =
  | { readonly kind: "insert"; readonly new: Row }
  | { readonly kind: "update"; readonly new: Row; readonly old: Row | null }
  | { readonly kind: "delete"; readonly old: Row }
  | { readonly kind: "truncate" };

/** A change that may have to wait: for the catalog's answer, or to learn whether it is half of a moved row. */
export interface PendingChange {
  readonly type: "change";
  readonly entry: RelationEntry;
  readonly images: RowImages;
  readonly transaction: Transaction;
  readonly position: Position;
  readonly oversized: readonly number[] | null;
  /** Length of its own frame: the same on every replay. */
  readonly frameBytes: number;
  /** What the frames to be told with it weigh: its own and those before it that gave nothing. */
  readonly bytes: number;
}

/** The end of a transaction, with what it did to the configuration tables. */
export interface PendingCommit {
  readonly type: "commit";
  readonly commitLsn: Lsn;
  readonly endLsn: Lsn;
  readonly configuration: readonly ConfigurationChange[];
  readonly bytes: number;
}

/** Everything up to here has been sent. */
export interface PendingKeepalive {
  readonly type: "keepalive";
  readonly lsn: Lsn;
  readonly bytes: 0;
}

/** What has been read from the stream and not yet been handed on, in wire order. */
export type Pending = PendingChange | PendingCommit | PendingKeepalive;
