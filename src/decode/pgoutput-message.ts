import type { Lsn } from "../replication/lsn.ts";

/** What a logical message (`pg_logical_emit_message`) that is meant for Walhook begins with. */
export const MESSAGE_PREFIX = "walhook";

/** A row as it is sent. */
export interface Tuple {
  /** Text, null for NULL, undefined for an unchanged TOAST value and for one that makes the row too large. */
  readonly values: (string | null | undefined)[];
  /** Indexes of the values that make the row too large; null where there are none, which is nearly always. */
  readonly oversized: readonly number[] | null;
}

export interface RelationColumn {
  readonly name: string;
  /** Part of the replica identity (under FULL: every column). */
  readonly isKey: boolean;
  readonly typeOid: number;
  readonly typeModifier: number;
}

/** Replica identity: default, nothing, full, index. */
export type ReplicaIdentity = "d" | "n" | "f" | "i";

/** A table as it stands for the changes that follow. */
export interface RelationMessage {
  readonly tag: "relation";
  readonly oid: number;
  /** `pg_catalog` is sent as the empty string and given in full here. */
  readonly schema: string;
  readonly name: string;
  readonly identity: ReplicaIdentity;
  readonly columns: readonly RelationColumn[];
}

export interface InsertMessage {
  readonly tag: "insert";
  readonly relationOid: number;
  readonly new: Tuple;
}

/** What an old tuple is: the replica identity's columns (K) or the whole row (O). */
export type OldKind = "K" | "O";

export interface UpdateMessage {
  readonly tag: "update";
  readonly relationOid: number;
  readonly old: Tuple | null;
  readonly oldKind: OldKind | null;
  readonly new: Tuple;
}

export interface DeleteMessage {
  readonly tag: "delete";
  readonly relationOid: number;
  readonly old: Tuple;
  readonly oldKind: OldKind;
}

export interface TruncateMessage {
  readonly tag: "truncate";
  readonly relationOids: readonly number[];
  readonly cascade: boolean;
  readonly restartIdentity: boolean;
}

/** A pgoutput message of protocol version 1. Times are microseconds since 1970-01-01 UTC. */
export type PgoutputMessage =
  | { readonly tag: "begin"; readonly commitLsn: Lsn; readonly commitTimeUs: bigint; readonly xid: number }
  | { readonly tag: "commit"; readonly commitLsn: Lsn; readonly endLsn: Lsn; readonly commitTimeUs: bigint }
  | { readonly tag: "origin"; readonly lsn: Lsn; readonly name: string }
  | { readonly tag: "type"; readonly oid: number; readonly schema: string; readonly name: string }
  | {
      readonly tag: "message";
      readonly isTransactional: boolean;
      readonly lsn: Lsn;
      readonly prefix: string;
      readonly contentBytes: number;
      /** Only of a message to Walhook, see `MESSAGE_PREFIX`. */
      readonly content?: string;
    }
  | RelationMessage
  | InsertMessage
  | UpdateMessage
  | DeleteMessage
  | TruncateMessage;
