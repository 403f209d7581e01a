import { Kysely, PostgresDialect, sql } from "kysely";
import type pg from "pg";
import type { Database } from "../db/schema.ts";
import { blocksLane } from "../deliver/ticket.ts";
import { formatLsn } from "../replication/lsn.ts";
import { applyConfiguration } from "./apply-configuration.ts";
import { applyRepairs } from "./apply-repairs.ts";
import { fencedError } from "./bridge-row.ts";
import { copyDecisions } from "./decision-copy.ts";
import { copyToLog } from "./log-copy.ts";
import { copyToQueue, queueDueAtMs } from "./queue-copy.ts";
import { lanesToRelease, releaseLanes, type LaneChange } from "./release-lanes.ts";
import { rollUp } from "./rollup.ts";
import { appendRollup } from "./rollup-copy.ts";
import type { CheckpointPlan, QueueState } from "./checkpoint-plan.ts";
import { writeBackfills } from "./write-backfills.ts";

/** How the number of rows in the queue changed, by webhook. */
export type QueueDelta = ReadonlyMap<number, number>;

/**
 * Makes checkpoints durable: log, queue, webhooks in force and cursor in one transaction, on a connection of
 * its own. The bridge row is locked first and its epoch compared, so that a process that was taken over
 * writes nothing more.
 */
export class CheckpointWriter {
  readonly #client: pg.Client;
  readonly #db: Kysely<Database>;
  readonly #epoch: bigint;
  readonly #onCounted: () => void;

  /**
   * @param client connected, used by nobody else; closed by whoever opened it
   * @param onCounted something was appended to what is counted by minute
   */
  constructor(client: pg.Client, epoch: bigint, onCounted: () => void = () => {}) {
    this.#client = client;
    this.#epoch = epoch;
    this.#onCounted = onCounted;
    this.#db = kyselyOn(client);
  }

  /**
   * Writes the plan, whole or not at all.
   *
   * @param claimed deliveries of the queue that this process is dealing with: whatever happens to their webhook,
   *   their end is recorded by this process
   * @throws WalhookError `fenced` when another bridge has taken over
   */
  async write(plan: CheckpointPlan, claimed: readonly string[], nowMs: number): Promise<QueueDelta> {
    const delta = new Map<number, number>();
    const count = (webhookId: number, by: number): void => void delta.set(webhookId, (delta.get(webhookId) ?? 0) + by);
    const counted = rollUp(plan.records);
    await this.#db.transaction().execute(async (trx) => {
      await this.#lockBridge(trx);
      await copyToLog(this.#client, plan.records);
      await appendRollup(trx, counted);
      await copyDecisions(this.#client, plan.records);
      await copyToQueue(this.#client, plan.enqueue, nowMs);
      await requeue(trx, plan.requeue, nowMs);
      for (const webhookId of await dequeue(trx, plan)) count(webhookId, -1);
      const changes: LaneChange[] = lanesToRelease(plan);
      // What goes back into the queue in this checkpoint is in nobody's hands any more.
      const atRest = new Set(plan.requeue.map(({ ticket }) => ticket.delivery.id));
      const busy = plan.configuration.length === 0 ? [] : claimed.filter((id) => !atRest.has(id));
      for (const effect of plan.configuration) {
        for (const [id, cancelled] of await applyConfiguration(trx, effect, busy)) count(id, -cancelled);
        for (const [id, repaired] of await applyRepairs(trx, effect, busy)) {
          count(id, repaired.delta);
          changes.push(...repaired.changes);
        }
      }
      if (plan.backfills !== undefined) await writeBackfills(trx, plan.backfills);
      await releaseLanes(trx, changes);
      await moveCursor(trx, plan);
    });
    if (counted.length > 0 || plan.configuration.length > 0) this.#onCounted();
    for (const state of plan.enqueue) if (blocksLane(state)) count(state.ticket.delivery.webhookId, 1);
    for (const state of plan.requeue) if (!blocksLane(state)) count(state.ticket.delivery.webhookId, -1);
    return delta;
  }

  async #lockBridge(trx: Kysely<Database>): Promise<void> {
    const { epoch } = await trx.selectFrom("walhook.bridge").select("epoch").forUpdate().executeTakeFirstOrThrow();
    if (BigInt(epoch) === this.#epoch) return;
    throw fencedError(BigInt(epoch), this.#epoch);
  }
}

/** Kysely on one connection that is used for COPY as well. */
function kyselyOn(client: pg.Client): Kysely<Database> {
  const single = Object.assign(client, { release: () => {} });
  const pool = { connect: async () => single, end: async () => {} } as unknown as pg.Pool;
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}

async function requeue(trx: Kysely<Database>, states: readonly QueueState[], nowMs: number): Promise<void> {
  if (states.length === 0) return;
  await sql`
    update walhook.webhook_queue q
    set attempts = s.attempts,
        due_at = to_timestamp(s.due_at_ms / 1000.0),
        last_error = s.last_error,
        is_dead = s.is_dead,
        holds_lane = s.holds_lane,
        batch_id = s.batch_id
    from unnest(
      ${states.map(({ ticket }) => ticket.delivery.id)}::text[],
      ${states.map(({ attempts }) => attempts)}::integer[],
      ${states.map((state) => queueDueAtMs(state, nowMs))}::double precision[],
      ${states.map(({ lastError }) => lastError)}::text[],
      ${states.map(({ isDead }) => isDead)}::boolean[],
      ${states.map(({ holdsLane }) => holdsLane)}::boolean[],
      ${states.map(({ ticket }) => ticket.batch?.id ?? null)}::text[]
    ) as s (delivery_id, attempts, due_at_ms, last_error, is_dead, holds_lane, batch_id)
    where q.delivery_id = s.delivery_id`.execute(trx);
  // An undecided delivery whose condition held meanwhile is frozen as it was rendered.
  for (const { ticket } of states) {
    if (ticket.change === null || ticket.request === null) continue;
    const { method, url, contentType, headers, body } = ticket.request;
    await trx
      .updateTable("walhook.webhook_queue")
      .set({
        kind: "request",
        method,
        url,
        content_type: contentType,
        headers: JSON.stringify(headers),
        body,
        change: null,
      })
      .where("delivery_id", "=", ticket.delivery.id)
      .execute();
  }
}

/** Returns the webhook of each row that was there to be taken out. */
async function dequeue(trx: Kysely<Database>, plan: CheckpointPlan): Promise<readonly number[]> {
  if (plan.dequeue.length === 0) return [];
  const rows = await trx
    .deleteFrom("walhook.webhook_queue")
    .where("delivery_id", "=", sql<string>`any(${plan.dequeue.map(({ delivery }) => delivery.id)})`)
    .returning("webhook_id")
    .execute();
  return rows.map(({ webhook_id }) => webhook_id);
}

async function moveCursor(trx: Kysely<Database>, plan: CheckpointPlan): Promise<void> {
  const { position, flushLsn } = plan;
  const newestUs = newestCommitUs(plan);
  await trx
    .updateTable("walhook.bridge")
    .set({
      cursor_commit_lsn: formatLsn(position.commitLsn),
      cursor_change_lsn: formatLsn(position.changeLsn),
      cursor_index: position.index,
      flush_lsn: formatLsn(flushLsn),
      updated_at: sql<Date>`now()`,
      ...(newestUs === null ? {} : { cursor_time: sql<Date>`to_timestamp(${Number(newestUs) / 1e6})` }),
    })
    .execute();
}

/** When the newest of its changes was committed, in microseconds since 1970; null where it has none. */
function newestCommitUs({ records, enqueue }: CheckpointPlan): bigint | null {
  let newest: bigint | null = null;
  for (const { delivery } of records) {
    if (newest === null || delivery.commitTimeUs > newest) newest = delivery.commitTimeUs;
  }
  for (const { ticket } of enqueue) {
    if (newest === null || ticket.delivery.commitTimeUs > newest) newest = ticket.delivery.commitTimeUs;
  }
  return newest;
}
