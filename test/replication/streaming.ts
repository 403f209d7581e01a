import type { Frame } from "../../src/replication/frame.ts";
import { type Lsn, parseLsn } from "../../src/replication/lsn.ts";
import {
  type ReplicationOptions,
  type ReplicationStream,
  openReplication,
} from "../../src/replication/replication-stream.ts";
import type { TestDatabase } from "../support/database.ts";

/** The slot's name of a test database: slots are shared by the whole server. */
export function slotOf(database: TestDatabase): string {
  return `${database.name}_slot`;
}

/** Creates publication `p` of the given tables and a slot behind it. */
export async function publish(database: TestDatabase, tables: string): Promise<void> {
  await database.query(`create publication p for table ${tables} with (publish_via_partition_root = true)`);
  await database.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [slotOf(database)]);
}

/** Opens the slot made by `publish`. */
export function open(database: TestDatabase, options: Partial<ReplicationOptions> = {}): Promise<ReplicationStream> {
  return openReplication({
    connection: { connectionString: database.url },
    slotName: slotOf(database),
    publicationNames: ["p"],
    ...options,
  });
}

/** What has come out of a stream so far; bytes are copied. */
export interface Received {
  readonly frames: readonly Frame[];
  /** Message tags of the data frames, `k` for a keepalive. */
  readonly tags: string;
  readonly error: Error | null;
  readonly isComplete: boolean;
}

/** Subscribes, and keeps everything. */
export function receive(stream: ReplicationStream): Received {
  const frames: Frame[] = [];
  const received = { frames, tags: "", error: null as Error | null, isComplete: false };
  stream.frames.subscribe({
    next: (frame) => {
      frames.push(frame.kind === "data" ? { ...frame, bytes: Buffer.from(frame.bytes) } : frame);
      received.tags += frame.kind === "data" ? String.fromCharCode(frame.bytes[0] ?? 0) : "k";
    },
    error: (error: Error) => {
      received.error = error;
    },
    complete: () => {
      received.isComplete = true;
    },
  });
  return received;
}

/** Whether what came last, keepalives apart, is a Commit. */
export function isBetweenTransactions(received: Received): boolean {
  return received.tags.replaceAll("k", "").endsWith("C");
}

/** What the server has written down for the slot. */
export async function confirmedFlush(database: TestDatabase): Promise<Lsn> {
  const { rows } = await database.query(
    "select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = $1",
    [slotOf(database)],
  );
  return parseLsn((rows[0] as { lsn: string }).lsn);
}

/** Whether a process streams the slot now. */
export async function isActive(database: TestDatabase): Promise<boolean> {
  const { rows } = await database.query("select active from pg_replication_slots where slot_name = $1", [
    slotOf(database),
  ]);
  return (rows[0] as { active: boolean }).active;
}

/** End LSNs of the transactions in a list of frames: what may be acknowledged. */
export function commitEnds(frames: readonly Frame[]): Lsn[] {
  return frames.flatMap((frame) => {
    if (frame.kind !== "data" || frame.bytes[0] !== 0x43) return [];
    return [frame.bytes.readBigUInt64BE(10)];
  });
}

/** First columns of the inserted rows in a list of frames. */
export function insertedIds(frames: readonly Frame[]): string[] {
  return frames.flatMap((frame) => {
    if (frame.kind !== "data" || frame.bytes[0] !== 0x49) return [];
    // Byte1 'I', Int32 OID, Byte1 'N', Int16 columns, Byte1 't', Int32 length, text.
    return [frame.bytes.toString("utf8", 13, 13 + frame.bytes.readUInt32BE(9))];
  });
}
