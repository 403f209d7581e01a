import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { ConfigurationChange } from "../decode/chunk.ts";
import { createCatalog } from "../decode/catalog.ts";
import type { Relation } from "../decode/relation.ts";
import type { Row } from "../decode/row-change.ts";
import { deferred, type Deferred } from "../deferred.ts";
import type { DocEvent } from "../events/doc-event.ts";
import { docname } from "../events/docname.ts";
import type { EventChunk } from "../events/event-chunk.ts";
import type { Conditions } from "../match/conditions.ts";
import type { InForce } from "../match/in-force.ts";
import { match, type Held, type Match } from "../match/match.ts";
import type { MatchedChunk } from "../match/matcher.ts";
import { orderChunks, type OrderChunk } from "../render/order-chunk.ts";
import type { DeliveryId } from "../render/delivery-id.ts";
import { toMicroseconds } from "../to-microseconds.ts";
import { BackfillStore, type StoredBackfill } from "./backfill-store.ts";
import { ChangedRows } from "./changed-rows.ts";
import { advance, type Key, type Progress } from "./progress.ts";

/** The deliveries of one chunk of rows, and how far the backfill is once they are durable. */
export interface BackfillChunk extends OrderChunk {
  readonly backfill: Progress;
}

export interface BackfillerOptions {
  readonly pool: pg.Pool;
  readonly conditions: Pick<Conditions, "ask">;
  readonly held: () => Held;
  readonly deliveryId: DeliveryId;
  readonly maxBodyBytes: number;
  /** How many more deliveries of a webhook the queue may hold; 0 while it sends nothing. */
  readonly room: (webhookId: number) => number;
  readonly isThere: (webhookId: number) => boolean;
  readonly onFailure: (error: unknown) => void;
}

interface Job {
  readonly id: string;
  readonly webhookId: number;
  readonly relation: Relation;
  wanted: string;
  progress: Progress;
  until: Key | null;
  chunk: ReadChunk | null;
}

/** Rows that were read between two watermarks, the second of which has not been met yet. */
interface ReadChunk {
  readonly token: string;
  readonly asked: readonly Key[] | null;
  rows: readonly Row[];
  /** From the low watermark on. */
  changed: ChangedRows | null;
  /** Resolves when what came of it is durable: each delivery has ended, or waits in the queue. */
  readonly durable: Deferred<void>;
}

const WAIT_MS = 200;
const MOST_TRIES = 12;
/** Rows that are read again at a time. */
const MOST_AGAIN = 500;

/**
 * Sends rows that exist. A chunk of them is read between two watermarks, rows of a published table; where the second one
 * is met in the stream the rows go the way of all changes, at its place, without those that changed between the two: they
 * have a delivery of that change, or are read again. The next chunk is read when the deliveries of this one are durable.
 */
export class Backfiller {
  readonly #options: BackfillerOptions;
  readonly #store: BackfillStore;
  readonly #jobs = new Map<string, Job>();
  readonly #starting = new Set<string>();
  /** What the stream has said last; also of those that are just being read. */
  readonly #wishes = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();
  readonly #abort = new AbortController();

  constructor(options: BackfillerOptions) {
    this.#options = options;
    this.#store = new BackfillStore(options.pool);
  }

  /** Goes on with what is not finished. */
  async start(): Promise<void> {
    for (const id of await this.#store.unfinished()) this.#begin(id);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    for (const { chunk } of this.#jobs.values()) chunk?.durable.resolve();
    await Promise.all(this.#running);
  }

  /** What is durable. */
  durable(progresses: readonly Progress[]): void {
    for (const { backfillId } of progresses) this.#jobs.get(backfillId)?.chunk?.durable.resolve();
  }

  /** Follows the stream: what follows from this chunk, behind it. Costs nothing where there is no backfill. */
  async follow(chunk: EventChunk, matched: MatchedChunk, inForce: InForce): Promise<readonly BackfillChunk[]> {
    for (const { chunk: read } of this.#jobs.values()) read?.changed?.note(chunk.events, matched.matches);
    const found: BackfillChunk[] = [];
    for (const change of chunk.configuration) {
      if (change.kind === "delete") continue;
      if (change.table === "backfill_request") this.#wish(change.row["id"] ?? "", change.row["wanted"] ?? "");
      if (change.table !== "backfill_watermark") continue;
      const made = await this.#meet(change, matched, inForce);
      if (made !== null) found.push(made);
    }
    return found;
  }

  #wish(id: string, wanted: string): void {
    this.#wishes.set(id, wanted);
    const job = this.#jobs.get(id);
    if (job !== undefined) job.wanted = wanted;
    else if (wanted !== "cancel") this.#begin(id);
  }

  async #meet({ row }: ConfigurationChange, matched: MatchedChunk, inForce: InForce): Promise<BackfillChunk | null> {
    const job = this.#jobs.get(row["backfill_id"] ?? "");
    const read = job?.chunk;
    if (job === undefined || read == null || read.token !== row["token"]) return null;
    if (row["side"] === "low") {
      read.changed = new ChangedRows(job.relation.oid, job.webhookId);
      return null;
    }
    const webhook = inForce.webhooks.get(job.webhookId);
    const commitLsn = matched.position.commitLsn;
    const transaction = { commitLsn, commitTimeUs: toMicroseconds(row["written_at"] ?? ""), xid: Number(row["xid"]) };
    const again: Key[] = [];
    const events: DocEvent[] = [];
    for (const [index, values] of read.rows.entries()) {
      const name = docname(job.relation, values) ?? "";
      const verdict = read.changed === null ? "again" : read.changed.verdict(name);
      if (verdict === "again") again.push(keyOf(job.relation, values));
      if (verdict !== "send") continue;
      const position = { commitLsn, changeLsn: commitLsn, index };
      const change = { kind: "insert" as const, transaction, position, relation: job.relation, new: values };
      events.push({ name: "backfill", change, docname: name, oldDocname: null, isCertain: true, backfillId: job.id });
    }
    const { conditions, held, deliveryId, maxBodyBytes } = this.#options;
    const watching = { onTable: () => new Map(webhook === undefined ? [] : [["backfill" as const, [webhook]]]) };
    const matches: readonly Match[] = await match(events, watching, held(), conditions);
    const place = { position: matched.position, flushLsn: 0n, bytes: 0, change: null };
    const parts = [...orderChunks({ ...place, matches }, deliveryId, maxBodyBytes)];
    const orders = parts.flatMap((part) => part.orders);
    const orderBytes = parts.reduce((sum, part) => sum + part.orderBytes, 0);
    const keys = read.rows.map((values) => keyOf(job.relation, values));
    job.progress = advance(job.progress, { asked: read.asked, read: keys, again, sent: orders.length });
    return { ...place, orders, orderBytes, backfill: job.progress };
  }

  #begin(id: string): void {
    if (this.#starting.has(id) || this.#abort.signal.aborted) return;
    this.#starting.add(id);
    const running = this.#run(id)
      .catch((error: unknown) => (this.#abort.signal.aborted ? undefined : this.#fail(id, error)))
      .then(() => {
        this.#jobs.delete(id);
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  async #run(id: string): Promise<void> {
    const job = await this.#open(id);
    if (job === null) return;
    job.wanted = this.#wishes.get(id) ?? job.wanted;
    this.#jobs.set(id, job);
    while (!this.#abort.signal.aborted) {
      if (job.wanted === "cancel" || (await this.#isGone(job))) return this.#store.end(job.id, "cancelled");
      // Live deliveries go first, and the queue is not filled.
      if (job.wanted === "pause" || this.#options.room(job.webhookId) === 0) {
        await sleep(WAIT_MS, undefined, { signal: this.#abort.signal }).catch(() => {});
        continue;
      }
      if (job.until === null) return this.#store.end(job.id, "done");
      const chunk: ReadChunk = {
        token: randomUUID(),
        asked: job.progress.pending.length > 0 ? job.progress.pending.slice(0, MOST_AGAIN) : null,
        rows: [],
        changed: null,
        durable: deferred<void>(),
      };
      job.chunk = chunk;
      await this.#store.mark(job.id, chunk.token, "low");
      chunk.rows = await this.#readChunk(job, chunk.asked);
      if (chunk.rows.length === 0 && chunk.asked === null) return this.#store.end(job.id, "done");
      await this.#store.mark(job.id, chunk.token, "high");
      await chunk.durable.promise;
      job.chunk = null;
    }
  }

  /** One that is not in force yet is still to come in the stream. */
  async #isGone({ webhookId }: Job): Promise<boolean> {
    if (this.#options.isThere(webhookId)) return false;
    return !(await this.#store.hasWebhook(webhookId));
  }

  #readChunk({ id, progress, until }: Job, asked: readonly Key[] | null): Promise<readonly Row[]> {
    if (asked !== null) return this.#store.read(id, "keys", asked);
    if (progress.lastKey === null) return this.#store.read(id, "first", { until });
    return this.#store.read(id, "next", { after: progress.lastKey, until });
  }

  async #open(id: string): Promise<Job | null> {
    const { pool } = this.#options;
    const stored = await this.#stored(id);
    if (stored === null || (stored.state ?? "running") !== "running") return null;
    const relation = await createCatalog(pool).describeRelation({
      tag: "relation",
      oid: stored.oid,
      schema: stored.schema,
      name: stored.name,
      identity: "f",
      columns: stored.columns.map((column) => ({ ...column, isKey: false, typeModifier: -1 })),
    });
    let until = stored.until_key;
    if (!stored.is_known) {
      const last = (await this.#store.read(id, "last", {}))[0];
      until = last === undefined ? null : keyOf(relation, last);
      const [count] = await this.#store.read(id, "count", {}).catch(() => []);
      await this.#store.begin(id, until, count?.[0] ?? stored.estimate);
    }
    const { last_key, pending, rows_done, rows_sent } = stored;
    const progress = {
      backfillId: id,
      lastKey: last_key,
      pending: pending ?? [],
      rowsDone: Number(rows_done ?? 0),
      rowsSent: Number(rows_sent ?? 0),
    };
    return { id, webhookId: stored.webhook_id, relation, wanted: stored.wanted, progress, until, chunk: null };
  }

  /** A commit is in the stream before everybody sees it, with synchronous replication long before. */
  async #stored(id: string): Promise<StoredBackfill | null> {
    for (let tries = 0; tries < MOST_TRIES && !this.#abort.signal.aborted; tries++) {
      if (tries > 0) await sleep(2 ** tries, undefined, { signal: this.#abort.signal });
      const stored = await this.#store.find(id);
      if (stored !== null) return stored;
    }
    this.#starting.delete(id);
    return null;
  }

  /** What its condition or rights do not allow is its own matter; a lost connection is the session's. */
  async #fail(id: string, error: unknown): Promise<void> {
    const { code, message } = error as { code?: string; message: string };
    if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || /^(57P|08|25006)/.test(code))
      return this.#options.onFailure(error);
    await this.#store.fail(id, message).catch(this.#options.onFailure);
  }
}

function keyOf({ keyIndexes }: Relation, row: Row): Key {
  return keyIndexes.map((index) => row[index] ?? "");
}
