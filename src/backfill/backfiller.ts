import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { ConfigurationChange } from "../decode/chunk.ts";
import type { EventChunk } from "../events/event-chunk.ts";
import type { Conditions } from "../match/conditions.ts";
import type { InForce } from "../match/in-force.ts";
import type { WithoutRights } from "../match/match.ts";
import type { MatchedChunk } from "../match/matcher.ts";
import type { Match } from "../match/match.ts";
import type { Order } from "../render/delivery.ts";
import type { DeliveryId } from "../render/delivery-id.ts";
import type { OrderChunk } from "../render/order-chunk.ts";
import { backfillFailure } from "./backfill-failure.ts";
import { forget, readChunk, type BackfillJob } from "./backfill-job.ts";
import type { BackfillChunk } from "./backfill-parts.ts";
import { BackfillStore, type Bounds, type StoredBackfill } from "./backfill-store.ts";
import { writeLowWatermark } from "./low-watermark.ts";
import { describeTable, firstKey, openBackfill } from "./open-backfill.ts";
import { meetWatermark } from "./meet-watermark.ts";
import { Semaphore } from "./semaphore.ts";
import type { Key, Progress } from "./progress.ts";
import { Turns } from "./turns.ts";
import { withBackfills } from "./with-backfills.ts";

export interface BackfillerOptions {
  readonly pool: pg.Pool;
  /** Of this process. */
  readonly epoch: bigint;
  readonly conditions: Pick<Conditions, "ask">;
  readonly withoutRights: () => WithoutRights;
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
/** So many have a chunk in memory at once. */
const MAX_AT_ONCE = 4;
const NOTHING_READ: Iterable<BackfillChunk> = [];

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
  readonly #semaphore = new Semaphore(MAX_AT_ONCE);
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

  /** Follows the stream: what comes behind this chunk, for `behind`. */
  async follow(chunk: EventChunk, matched: MatchedChunk, inForce: InForce): Promise<Iterable<BackfillChunk>> {
    let found = NOTHING_READ;
    for (const change of chunk.configuration) {
      if (change.table === "backfill_request") {
        if (change.kind === "delete") this.#wishes.delete(change.row["id"] ?? "");
        else this.#wish(change.row);
      }
      if (change.kind === "delete") continue;
      // Each stands in a transaction of its own.
      const job = change.table === "backfill_watermark" ? this.#jobs.get(change.row["backfill_id"] ?? "") : undefined;
      if (job !== undefined) found = await meetWatermark(job, change.row, { matched, inForce, ...this.#options });
    }
    return found;
  }

  /**
   * The parts of a chunk, and behind them what `follow` has found. What each match became is noted as it is rendered: what could
   * not be is sent by nobody, so no row is left to it. Costs nothing where there is no backfill.
   */
  behind(
    parts: Iterable<OrderChunk>,
    matches: readonly Match[],
    read: Iterable<BackfillChunk>,
  ): Iterable<OrderChunk | BackfillChunk> {
    if (this.#jobs.size === 0 && read === NOTHING_READ) return parts;
    return withBackfills(parts, matches, this.#note, read);
  }

  readonly #note = (match: Match, order: Order): void => {
    for (const { newer } of this.#jobs.values()) newer?.note(match, order);
  };

  #wish(row: ConfigurationChange["row"]): void {
    const id = row["id"] ?? "";
    const wish = { wanted: row["wanted"] ?? "", resumes: Number(row["resumes"] ?? 0) };
    this.#wishes.set(id, wish);
    const job = this.#jobs.get(id);
    if (job !== undefined) job.wanted = wish.wanted;
    if (this.#running.has(id)) this.#woken.add(id);
    else this.#begin(id);
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
      const resumes = Math.max(wish.resumes, stored.resumes);
      try {
        if (wish.wanted === "cancel") return await this.#store.end(id, "cancelled");
        if (stored.state === "failed" && resumes <= (stored.state_resumes ?? 0)) return;
        if (stored.state === "failed") await this.#store.restart(id, resumes);
        const opening = { id, stored, resumes };
        return await this.#work(
          await this.#semaphore.take(() => openBackfill(this.#store, this.#options.pool, opening)),
        );
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
        (await this.#turns.take(webhookId, () => this.#sendNext(job, job.until ?? [])))
      ) {
        return this.#store.end(id, "done");
      }
    }
  }

  /** While others have the semaphore, nothing is remembered for it either. */
  #sendNext(job: BackfillJob, until: Key): Promise<boolean> {
    if (this.#semaphore.isFull) forget(job);
    return this.#semaphore.take(() => this.#sendChunk(job, until));
  }

  /** Reads a chunk and has it sent; resolves when that is durable. True: there is nothing more. */
  async #sendChunk(job: BackfillJob, until: Key): Promise<boolean> {
    if (this.#abort.signal.aborted) return false;
    const { id, progress } = job;
    if (job.newer?.isLost === true) forget(job);
    if (job.lowToken === null) await writeLowWatermark(this.#store, job, this.#abort.signal);
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

  /** One that is not in force yet is still to come in the stream. */
  async #isGone(webhookId: number): Promise<boolean> {
    if (this.#options.isThere(webhookId)) return false;
    return !(await this.#store.hasWebhook(webhookId));
  }

  /** A commit is in the stream before everybody sees it, with synchronous replication long before; null: it is gone. */
  async #stored(id: string): Promise<StoredBackfill | null> {
    for (let tries = 0; !this.#abort.signal.aborted; tries++) {
      const stored = await this.#store.find(id);
      if (stored !== null || !this.#wishes.has(id)) return stored;
      await this.#sleep(Math.min(2 ** tries, TRY_AGAIN_MS));
    }
    return null;
  }

  async #sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#abort.signal }).catch(() => {});
  }
}
