import { Kysely, PostgresDialect, sql } from "kysely";
import type pg from "pg";
import type { Database } from "../db/schema.ts";
import { WalhookError } from "../errors.ts";
import { formatLsn } from "../replication/lsn.ts";
import { copyToLog } from "./log-copy.ts";
import { copyToQueue } from "./queue-copy.ts";
import { releaseLanes } from "./release-lanes.ts";
import type { CheckpointPlan, ConfigurationEffect, QueueState } from "./tracker.ts";

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

  /** @param client connected, used by nobody else; closed by whoever opened it */
  constructor(client: pg.Client, epoch: bigint) {
    this.#client = client;
    this.#epoch = epoch;
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
    await this.#db.transaction().execute(async (trx) => {
      await this.#lockBridge(trx);
      await copyToLog(this.#client, plan.records);
      await copyToQueue(this.#client, plan.enqueue, nowMs);
      await requeue(trx, plan.requeue);
      await dequeue(trx, plan);
      for (const effect of plan.configuration) {
        for (const [id, cancelled] of await applyConfiguration(trx, effect, claimed)) count(id, -cancelled);
      }
      await releaseLanes(trx, lanesToRelease(plan));
      await moveCursor(trx, plan);
    });
    for (const { ticket, isDead } of plan.enqueue) if (!isDead) count(ticket.delivery.webhookId, 1);
    for (const { ticket, isDead } of plan.requeue) if (isDead) count(ticket.delivery.webhookId, -1);
    for (const ticket of plan.dequeue) count(ticket.delivery.webhookId, -1);
    return delta;
  }

  async #lockBridge(trx: Kysely<Database>): Promise<void> {
    const { epoch } = await trx.selectFrom("walhook.bridge").select("epoch").forUpdate().executeTakeFirstOrThrow();
    if (BigInt(epoch) === this.#epoch) return;
    throw new WalhookError(`another bridge has taken over (epoch ${epoch}, ours was ${this.#epoch})`, {
      code: "fenced",
      hint: "Nothing to do: the other bridge goes on from the last checkpoint.",
    });
  }
}

/** Kysely on one connection that is used for COPY as well. */
function kyselyOn(client: pg.Client): Kysely<Database> {
  const single = Object.assign(client, { release: () => {} });
  const pool = { connect: async () => single, end: async () => {} } as unknown as pg.Pool;
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}

/** What stands in a lane that something left, or that something blocked was added to. */
function lanesToRelease(plan: CheckpointPlan) {
  return [
    ...plan.dequeue,
    ...plan.requeue.filter(({ isDead, dueAtMs }) => isDead || dueAtMs === null).map(({ ticket }) => ticket),
    ...plan.enqueue.filter(({ isSending, dueAtMs }) => !isSending && dueAtMs === null).map(({ ticket }) => ticket),
  ];
}

async function requeue(trx: Kysely<Database>, states: readonly QueueState[]): Promise<void> {
  if (states.length === 0) return;
  await sql`
    update walhook.webhook_queue q
    set attempts = s.attempts,
        due_at = to_timestamp(s.due_at_ms / 1000.0),
        last_error = s.last_error,
        is_dead = s.is_dead
    from unnest(
      ${states.map(({ ticket }) => ticket.delivery.id)}::text[],
      ${states.map(({ attempts }) => attempts)}::integer[],
      ${states.map(({ dueAtMs }) => dueAtMs)}::double precision[],
      ${states.map(({ lastError }) => lastError)}::text[],
      ${states.map(({ isDead }) => isDead)}::boolean[]
    ) as s (delivery_id, attempts, due_at_ms, last_error, is_dead)
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

async function dequeue(trx: Kysely<Database>, plan: CheckpointPlan): Promise<void> {
  if (plan.dequeue.length === 0) return;
  await trx
    .deleteFrom("walhook.webhook_queue")
    .where("delivery_id", "=", sql<string>`any(${plan.dequeue.map(({ delivery }) => delivery.id)})`)
    .execute();
}

/** Stores the webhooks in force; open deliveries of deleted ones are cancelled, with a log row each. */
async function applyConfiguration(
  trx: Kysely<Database>,
  { changed, removed }: ConfigurationEffect,
  claimed: readonly string[],
): Promise<readonly (readonly [webhookId: number, cancelled: number])[]> {
  for (const [id, definition] of changed) {
    const json = JSON.stringify(definition);
    await trx
      .insertInto("walhook.webhook_in_force")
      .values({ webhook_id: id, definition: json })
      .onConflict((conflict) => conflict.column("webhook_id").doUpdateSet({ definition: json }))
      .execute();
  }
  if (removed.length === 0) return [];
  await trx
    .deleteFrom("walhook.webhook_in_force")
    .where("webhook_id", "=", sql<number>`any(${removed})`)
    .execute();
  const { rows } = await sql<{ webhook_id: number; cancelled: number }>`
    with gone as (
      delete from walhook.webhook_queue
      where webhook_id = any(${removed}::integer[]) and delivery_id <> all(${claimed}::text[])
      returning delivery_id, attempts, webhook_id, webhook, doctype, docname, docevent, source, commit_lsn, xid,
        commit_time, is_dead
    ), logged as (
      insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname,
        docevent, source, outcome, error, lsn, xid, commit_time)
      select clock_timestamp(), delivery_id, attempts, webhook_id, webhook, doctype, docname, docevent, source, 'cancelled',
        'the webhook was deleted before this delivery could be made', commit_lsn, xid, commit_time
      from gone
    )
    select webhook_id, count(*) filter (where not is_dead)::int as cancelled from gone group by webhook_id`.execute(
    trx,
  );
  return rows.map(({ webhook_id, cancelled }) => [webhook_id, cancelled] as const);
}

async function moveCursor(trx: Kysely<Database>, { position, flushLsn }: CheckpointPlan): Promise<void> {
  await trx
    .updateTable("walhook.bridge")
    .set({
      cursor_commit_lsn: formatLsn(position.commitLsn),
      cursor_change_lsn: formatLsn(position.changeLsn),
      cursor_index: position.index,
      flush_lsn: formatLsn(flushLsn),
      updated_at: sql<Date>`now()`,
    })
    .execute();
}
