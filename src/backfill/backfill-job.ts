import { randomUUID } from "node:crypto";
import type { Relation } from "../decode/relation.ts";
import { deferred, type Deferred } from "../deferred.ts";
import type { NewerDeliveries } from "./newer-deliveries.ts";
import type { Key, Progress } from "./progress.ts";
import type { Reading, ReadTable } from "./read-rows.ts";
import type { Snapshot } from "./snapshot.ts";

/** A backfill that runs. */
export interface BackfillJob {
  readonly id: string;
  readonly webhookId: number;
  /** As the rows that were read last had it. */
  table: ReadTable;
  relation: Relation;
  wanted: string;
  /** The last resumption that it has heeded. */
  resumes: number;
  progress: Progress;
  /** Where it ends; null: there was no row. */
  readonly until: Key | null;
  /** From its low watermark on; null: nothing is remembered. */
  newer: NewerDeliveries | null;
  /** Of the low watermark; null: none is written. */
  lowToken: string | null;
  chunk: ReadChunk | null;
}

/** Rows that were read before a high watermark, which has not been met yet. */
export interface ReadChunk {
  readonly token: string;
  readonly wasPending: boolean;
  readonly reading: Reading;
  readonly relation: Relation;
  readonly snapshot: Snapshot;
  /** How far the backfill is with all of it; null: not all of it is rendered, or it has to be read again. */
  last: Progress | null;
  /** Resolves when what came of it is durable: each delivery has ended, or waits in the queue. */
  readonly durable: Deferred<void>;
}

/** Rows that have just been read. */
export function readChunk(
  job: BackfillJob,
  wasPending: boolean,
  { snapshot, ...reading }: Reading & { readonly snapshot: Snapshot },
): ReadChunk {
  const { relation } = job;
  return { token: randomUUID(), wasPending, reading, relation, snapshot, last: null, durable: deferred<void>() };
}

/** The next chunk begins with a low watermark. */
export function forget(job: BackfillJob): void {
  job.lowToken = null;
  job.newer = null;
}
