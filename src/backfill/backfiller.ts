import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { ConfigurationChange } from "../decode/chunk.ts";
import type { EventChunk } from "../events/event-chunk.ts";
import type { Conditions } from "../match/conditions.ts";
import type { InForce } from "../match/in-force.ts";
import type { Held } from "../match/match.ts";
import type { MatchedChunk } from "../match/matcher.ts";
import type { DeliveryId } from "../render/delivery-id.ts";
import { toMicroseconds } from "../to-microseconds.ts";
import { backfillFailure, BackfillStopped } from "./backfill-failure.ts";
import { forget, readChunk, type BackfillJob } from "./backfill-job.ts";
import { backfillParts, type BackfillChunk } from "./backfill-parts.ts";
import { BackfillStore, type Bounds, type StoredBackfill } from "./backfill-store.ts";
import { matchRows } from "./match-rows.ts";
import { NewerDeliveries } from "./newer-deliveries.ts";
import { describeTable, firstKey, openBackfill } from "./open-backfill.ts";
import type { Key, Progress } from "./progress.ts";
import { Turns } from "./turns.ts";

export interface BackfillerOptions {
  readonly pool: pg.Pool;
  /** Of this process. */
  readonly epoch: bigint;
  readonly conditions: Pick<Conditions, "ask">;
  readonly held: () => Held;
  readonly deliveryId: DeliveryId;
  readonly maxRowBytes: number;
  readonly maxBodyBytes: number;
  /** How many more deliveries of a webhook the queue may hold; 0 while it sends nothing. */
  readonly room: (webhookId: number) => number;
  readonly isThere: (webhookId: number) => boolean;
  readonly onFailure: (error: unknown) => void;
}

/** What the stream has said last of a backfill. */
interface Wish {
  readonly wanted: string;
  readonly resumes: number;
}

const WAIT_MS = 200;
const TRY_AGAIN_MS = 1000;
const MOST_TRIES = 12;
/** How long those that were writing at the low watermark are waited for: a commit takes microseconds to be seen. */
const SETTLE_MS = 2000;

/**
 * Sends rows that exist, chunk by chunk. Behind each reading a watermark is written, a row of a published table; where it is
 * met in the stream the rows go the way of all changes, at its place, but for those of which the stream has delivered
 * something that the reading did not see. The next chunk is read when the deliveries of this one are durable.
 */
export class Backfiller {
  readonly #options: BackfillerOptions;
  readonly #store: BackfillStore;
  readonly #jobs = new Map<string, BackfillJob>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #wishes = new Map<string, Wish>();
  /** Told of something while they ran: looked at once more. */
  readonly #woken = new Set<string>();
  /** Two backfills of a webhook take turns: the row that is read later must be sent later. */
  readonly #turns = new Turns();
  readonly #abort = new AbortController();

  constructor(options: BackfillerOptions) {
    this.#options = options;
    const { pool, epoch, maxRowBytes } = options;
    this.#store = new BackfillStore(pool, epoch, maxRowBytes, this.#abort.signal);
  }

  /** Goes on with what is not finished. */
  async start(): Promise<void> {
    for (const id of await this.#store.unfinished()) this.#begin(id);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    for (const { chunk } of this.#jobs.values()) chunk?.durable.resolve();
    await Promise.all(this.#running.values());
  }

  /** What is durable. */
  durable(progresses: readonly Progress[]): void {
    for (const progress of progresses) {
      const chunk = this.#jobs.get(progress.backfillId)?.chunk;
      if (chunk?.last === progress) chunk.durable.resolve();
    }
  }

  /** Follows the stream: what comes behind this chunk. Costs nothing where there is no backfill. */
  async follow(chunk: EventChunk, matched: MatchedChunk, inForce: InForce): Promise<Iterable<BackfillChunk>> {
    for (const { newer } of this.#jobs.values()) newer?.note(matched.matches);
    let found: Iterable<BackfillChunk> = [];
    for (const change of chunk.configuration) {
      if (change.kind === "delete") continue;
      if (change.table === "backfill_request") this.#wish(change.row);
      // Each stands in a transaction of its own.
      if (change.table === "backfill_watermark") found = await this.#meet(change, matched, inForce);
    }
    return found;
  }

  #wish(row: ConfigurationChange["row"]): void {
    const id = row["id"] ?? "";
    const wish = { wanted: row["wanted"] ?? "", resumes: Number(row["resumes"] ?? 0) };
    this.#wishes.set(id, wish);
    const job = this.#jobs.get(id);
    if (job !== undefined) job.wanted = wish.wanted;
    if (this.#running.has(id)) this.#woken.add(id);
    else this.#begin(id);
  }

  async #meet({ row }: ConfigurationChange, matched: MatchedChunk, inForce: InForce): Promise<Iterable<BackfillChunk>> {
    const job = this.#jobs.get(row["backfill_id"] ?? "");
    if (job === undefined) return [];
    if (row["side"] === "low" && row["token"] === job.lowToken) {
      job.newer = new NewerDeliveries(job.relation.oid, job.webhookId);
    }
    const read = job.chunk;
    if (row["side"] !== "high" || read === null || read.token !== row["token"]) return [];
    const unseen = job.newer?.unseen(read.snapshot) ?? null;
    const webhook = inForce.webhooks.get(job.webhookId);
    if (webhook !== undefined && webhook.doctypeOid !== read.relation.oid) {
      read.durable.reject(new BackfillStopped("its webhook watches another table by now; cancel it"));
      return [];
    }
    if (unseen === null) {
      // To be read again, from a new low watermark on; that read sees what is undecided now.
      forget(job);
      read.durable.resolve();
      return [];
    }
    const { commitLsn } = matched.position;
    const transaction = { commitLsn, commitTimeUs: toMicroseconds(row["written_at"] ?? ""), xid: Number(row["xid"]) };
    const { relation, reading, wasPending } = read;
    const { conditions, held, deliveryId, maxBodyBytes } = this.#options;
    const matches = await matchRows({
      rows: reading.rows,
      relation,
      unseen,
      transaction,
      webhook,
      conditions,
      backfillId: job.id,
      held: held(),
    });
    return backfillParts({
      rows: reading.rows,
      relation,
      matches,
      wasPending,
      deliveryId,
      maxBodyBytes,
      position: matched.position,
      before: job.progress,
      reached: reading.isEnd ? job.until : reading.reached,
      onLast: (progress) => {
        job.progress = progress;
        read.last = progress;
      },
    });
  }

  #begin(id: string): void {
    if (this.#running.has(id) || this.#abort.signal.aborted) return;
    const running = this.#run(id)
      .catch((error: unknown) => (this.#abort.signal.aborted ? undefined : this.#options.onFailure(error)))
      .then(() => {
        this.#running.delete(id);
        if (this.#woken.delete(id)) this.#begin(id);
        else this.#wishes.delete(id);
      });
    this.#running.set(id, running);
  }

  /** What its condition or rights do not allow is its own matter; a lost connection is the session's. */
  async #run(id: string): Promise<void> {
    while (!this.#abort.signal.aborted) {
      const stored = await this.#stored(id);
      if (stored === null || stored.state === "done" || stored.state === "cancelled") return;
      const wish = this.#wishes.get(id) ?? stored;
      if (wish.wanted === "cancel") return this.#store.end(id, "cancelled");
      const resumes = Math.max(wish.resumes, stored.resumes);
      if (stored.state === "failed" && resumes <= (stored.state_resumes ?? 0)) return;
      try {
        if (stored.state === "failed") await this.#store.restart(id, resumes);
        return await this.#work(await openBackfill(this.#store, this.#options.pool, { id, stored, resumes }));
      } catch (error) {
        const failure = backfillFailure(error);
        if (failure.kind === "session" || this.#abort.signal.aborted) throw error;
        if (failure.kind === "failed") {
          const heard = this.#jobs.get(id)?.resumes ?? resumes;
          return await this.#store.fail(id, failure.reason, heard);
        }
        await this.#store.noteTrouble(id, failure.reason);
        await this.#sleep(TRY_AGAIN_MS);
      } finally {
        this.#jobs.delete(id);
      }
    }
  }

  async #work(job: BackfillJob): Promise<void> {
    const { id, webhookId } = job;
    job.wanted = this.#wishes.get(id)?.wanted ?? job.wanted;
    this.#jobs.set(id, job);
    while (!this.#abort.signal.aborted) {
      // What is heard from here on may be about a failure, of the next reading too.
      job.resumes = Math.max(job.resumes, this.#wishes.get(id)?.resumes ?? 0);
      if (job.wanted === "cancel" || (await this.#isGone(webhookId))) return this.#store.end(id, "cancelled");
      // Live deliveries go first, and the queue is not filled.
      if (job.wanted === "pause" || this.#options.room(webhookId) === 0) {
        forget(job);
        await this.#sleep(WAIT_MS);
      } else if (
        job.until === null ||
        (await this.#turns.take(webhookId, () => this.#sendChunk(job, job.until ?? [])))
      ) {
        return this.#store.end(id, "done");
      }
    }
  }

  /** Reads a chunk and has it sent; resolves when that is durable. True: there is nothing more. */
  async #sendChunk(job: BackfillJob, until: Key): Promise<boolean> {
    const { id, progress } = job;
    if (job.newer?.isLost === true) forget(job);
    if (job.lowToken === null) await this.#remember(job);
    const [pending] = progress.pending;
    const bounds = pending === undefined ? await this.#bounds(job, until) : { from: pending, until: pending };
    if (this.#abort.signal.aborted) return false;
    const reading = await this.#store.read(id, "rows", bounds);
    job.newer?.unseen(reading.snapshot);
    if (reading.table !== null && JSON.stringify(reading.table) !== JSON.stringify(job.table)) {
      job.table = reading.table;
      job.relation = await describeTable(this.#options.pool, job.relation.oid, reading.table);
    }
    const isEnd = reading.isEnd && pending === undefined;
    if (isEnd && reading.rows.length === 0) return true;
    const chunk = (job.chunk = readChunk(job, pending !== undefined, reading));
    // After that, `close` sees the chunk.
    if (this.#abort.signal.aborted) return false;
    await this.#store.mark(id, chunk.token, "high");
    await chunk.durable.promise;
    // Also resolved by `close`, and then it is not durable.
    if (this.#abort.signal.aborted) return false;
    job.chunk = null;
    if (chunk.last === null) await this.#sleep(WAIT_MS);
    return isEnd && chunk.last !== null;
  }

  async #bounds({ id, progress: { lastKey } }: BackfillJob, until: Key): Promise<Bounds> {
    if (lastKey !== null) return { after: lastKey, until };
    const from = await firstKey(this.#store, id);
    return from === null ? { until } : { from, until };
  }

  /** From here on what the stream delivers is remembered; what came before, all readings see. */
  async #remember(job: BackfillJob): Promise<void> {
    job.lowToken = randomUUID();
    await this.#store.mark(job.id, job.lowToken, "low");
    // A commit is in the WAL a moment before it is seen.
    const writers = new Set(await this.#store.writers(job.relation.oid));
    const deadline = Date.now() + SETTLE_MS;
    while (writers.size > 0 && Date.now() < deadline && !this.#abort.signal.aborted) {
      await this.#sleep(2);
      const present = await this.#store.writers(job.relation.oid);
      for (const xid of writers) if (!present.includes(xid)) writers.delete(xid);
    }
  }

  /** One that is not in force yet is still to come in the stream. */
  async #isGone(webhookId: number): Promise<boolean> {
    if (this.#options.isThere(webhookId)) return false;
    return !(await this.#store.hasWebhook(webhookId));
  }

  /** A commit is in the stream before everybody sees it, with synchronous replication long before. */
  async #stored(id: string): Promise<StoredBackfill | null> {
    for (let tries = 0; tries < MOST_TRIES && !this.#abort.signal.aborted; tries++) {
      if (tries > 0) await this.#sleep(2 ** tries);
      const stored = await this.#store.find(id);
      if (stored !== null) return stored;
    }
    return null;
  }

  async #sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#abort.signal }).catch(() => {});
  }
}
