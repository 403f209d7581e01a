import type { ReplicaIdentity } from "../decode/pgoutput-message.ts";
import type { DocEventName } from "../events/doc-event.ts";

/** What `walhook.whole_question` asks: documents that exist, and the doc event that is to be made of them. */
export interface PreviewQuestion {
  readonly webhookId: number;
  readonly event: DocEventName;
  /** Whether the webhook watches for this event. */
  readonly isWatched: boolean;
  readonly isEnabled: boolean;
  /** Why it is held: its author lost a right, it cannot sign, its receiver has not consented; null where it is not. */
  readonly held: string | null;
  /** Why what it would send waits in the queue: it is paused, its breaker is open; null where nothing does. */
  readonly waits: string | null;
  /** Whether the asker said what a row was like before. */
  readonly hasOld: boolean;
  readonly relation: {
    readonly oid: number;
    readonly schema: string;
    readonly name: string;
    readonly columns: readonly { readonly name: string; readonly typeOid: number }[];
  };
  readonly rows: readonly AskedRow[];
  /** The delivery's id; null: any. */
  readonly id: string | null;
  /** When it would leave, in milliseconds since 1970. */
  readonly sentAtMs: number;
  /** Commit LSN, as Postgres writes it. */
  readonly lsn: string;
  /** Null: the row's own. */
  readonly xid: number | null;
  /** Microseconds since 1970, in digits. */
  readonly commitTimeUs: string;
}

/** A document: texts as the stream would carry them, in the order of the relation's columns. */
export interface AskedRow {
  /** Null for a truncate, which is about no row. */
  readonly row: readonly (string | null)[] | null;
  /** The row before, all of it. */
  readonly old?: readonly (string | null)[];
  /** Of the leaf that it stands in. */
  readonly identity?: ReplicaIdentity;
  readonly identityColumns?: readonly string[];
  /** Who wrote it last. */
  readonly xid?: number;
}

/** What is told of one document: a row of `walhook.previewed`. */
export interface Previewed {
  readonly docname: string | null;
  readonly event: DocEventName;
  readonly fires: boolean;
  readonly condition_holds: boolean | null;
  readonly reason: string | null;
  readonly method: string | null;
  readonly url: string | null;
  readonly headers: Readonly<Record<string, string>> | null;
  readonly body: string | null;
  readonly signature: string | null;
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly sent_at: string;
}
