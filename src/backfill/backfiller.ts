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
  readonly #jobs = new Map<string, Job>();
  readonly #starting = new Set<string>();
  /** What the stream has said last; also of those that are just being read. */
  readonly #wishes = new Map<string, string>();
  readonly #running = new Set<Promise<void>>();
  readonly #abort = new AbortController();

  constructor(options: BackfillerOptions) {
    this.#options = options;
  }

  /** Goes on with what is not finished. */
  async start(): Promise<void> {
    const { rows } = await this.#options.pool.query<{ id: string }>(
      `select r.id::text from walhook.backfill_request r left join walhook.backfill_state s on s.backfill_id = r.id
        where coalesce(s.state, 'running') = 'running' order by r.id`,
    );
    for (const { id } of rows) this.#begin(id);
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
      if (job.wanted === "cancel" || (await this.#isGone(job))) return this.#end(job, "cancelled");
      // Live deliveries go first, and the queue is not filled.
      if (job.wanted === "pause" || this.#options.room(job.webhookId) === 0) {
        await sleep(WAIT_MS, undefined, { signal: this.#abort.signal }).catch(() => {});
        continue;
      }
      if (job.until === null) return this.#end(job, "done");
      const chunk: ReadChunk = {
        token: randomUUID(),
        asked: job.progress.pending.length > 0 ? job.progress.pending.slice(0, MOST_AGAIN) : null,
        rows: [],
        changed: null,
        durable: deferred<void>(),
      };
      job.chunk = chunk;
      await this.#mark(job, chunk.token, "low");
      chunk.rows = await this.#readChunk(job, chunk.asked);
      if (chunk.rows.length === 0 && chunk.asked === null) return this.#end(job, "done");
      await this.#mark(job, chunk.token, "high");
      await chunk.durable.promise;
      job.chunk = null;
    }
  }

  /** One that is not in force yet is still to come in the stream. */
  async #isGone({ webhookId }: Job): Promise<boolean> {
    if (this.#options.isThere(webhookId)) return false;
    const { rows } = await this.#options.pool.query("select from walhook.webhook where id = $1", [webhookId]);
    return rows.length === 0;
  }

  #readChunk({ id, progress, until }: Job, asked: readonly Key[] | null): Promise<readonly Row[]> {
    if (asked !== null) return this.#read(id, "keys", asked);
    if (progress.lastKey === null) return this.#read(id, "first", { until });
    return this.#read(id, "next", { after: progress.lastKey, until });
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
      const last = (await this.#read(id, "last", {}))[0];
      until = last === undefined ? null : keyOf(relation, last);
      const [count] = await this.#read(id, "count", {}).catch(() => []);
      await pool.query(
        "insert into walhook.backfill_state (backfill_id, until_key, rows_estimated) values ($1, $2, $3) on conflict do nothing",
        [id, JSON.stringify(until), count?.[0] ?? stored.estimate],
      );
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
  async #stored(id: string): Promise<StoredJob | null> {
    for (let tries = 0; tries < MOST_TRIES && !this.#abort.signal.aborted; tries++) {
      if (tries > 0) await sleep(2 ** tries, undefined, { signal: this.#abort.signal });
      const { rows } = await this.#options.pool.query<StoredJob>(STORED, [id]);
      if (rows[0] !== undefined) return rows[0];
    }
    this.#starting.delete(id);
    return null;
  }

  /** With the rights of who asked for it, in a transaction that can write nothing. */
  async #read(id: string, what: string, input: unknown): Promise<readonly Row[]> {
    const client = await this.#options.pool.connect();
    try {
      await client.query("begin read only; set local statement_timeout = '60s'");
      const { rows } = await client.query<{ values: (string | null)[] }>(
        "select r as values from walhook.read_backfill($1, $2, $3) as r",
        [id, what, JSON.stringify(input)],
      );
      return rows.map(({ values }) => values);
    } finally {
      await client.query("rollback; select pg_advisory_unlock_all()").catch(() => {});
      client.release();
    }
  }

  async #mark({ id }: Job, token: string, side: "low" | "high"): Promise<void> {
    await this.#options.pool.query(
      `insert into walhook.backfill_watermark as w (backfill_id, token, side, xid)
       values ($1, $2, $3, (pg_current_xact_id()::text::bigint & 4294967295))
       on conflict (backfill_id) do update
       set token = excluded.token, side = excluded.side, written_at = clock_timestamp(), xid = excluded.xid`,
      [id, token, side],
    );
  }

  async #end({ id }: Job, state: "done" | "cancelled"): Promise<void> {
    await this.#options.pool.query(
      `with ended as (update walhook.backfill_state set state = $2, updated_at = case when $2 = 'done' then now() else updated_at end where backfill_id = $1)
       delete from walhook.backfill_watermark where backfill_id = $1`,
      [id, state],
    );
    await this.#options.pool.query("select walhook.drop_backfill_function($1)", [id]);
  }

  /** What its condition or rights do not allow is its own matter; a lost connection is the session's. */
  async #fail(id: string, error: unknown): Promise<void> {
    const { code, message } = error as { code?: string; message: string };
    if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || /^(57P|08|25006)/.test(code))
      return this.#options.onFailure(error);
    await this.#options.pool
      .query(
        `insert into walhook.backfill_state as s (backfill_id, state, error) values ($1, 'failed', $2)
         on conflict (backfill_id) do update set state = 'failed', error = excluded.error`,
        [id, message],
      )
      .catch(this.#options.onFailure);
  }
}

interface StoredJob {
  readonly webhook_id: number;
  readonly wanted: string;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[];
  readonly estimate: string | null;
  readonly is_known: boolean;
  readonly state: string | null;
  readonly last_key: Key | null;
  readonly until_key: Key | null;
  readonly pending: readonly Key[] | null;
  readonly rows_done: string | null;
  readonly rows_sent: string | null;
}

const STORED = `
  select r.webhook_id, r.wanted, r.doctype_oid::bigint::float8 as oid, n.nspname::text as schema, c.relname::text as name, r.columns,
         case when c.reltuples >= 0 then c.reltuples::bigint end as estimate, s.backfill_id is not null as is_known,
         s.state, s.last_key, s.until_key, s.pending, s.rows_done, s.rows_sent
    from walhook.backfill_request r
    left join pg_catalog.pg_class c on c.oid = r.doctype_oid
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join walhook.backfill_state s on s.backfill_id = r.id
   where r.id = $1`;

function keyOf({ keyIndexes }: Relation, row: Row): Key {
  return keyIndexes.map((index) => row[index] ?? "");
}

/** A timestamptz as the stream has it, in UTC. */
function toMicroseconds(text: string): bigint {
  const [, date, time, fraction = ""] = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?/.exec(text) ?? [];
  return date === undefined ? 0n : BigInt(Date.parse(`${date}T${time}Z`)) * 1000n + BigInt(fraction.padEnd(6, "0"));
}
