import { sql, type Kysely, type RawBuilder } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Repair } from "../match/repair.ts";
import { formatLsn } from "../replication/lsn.ts";
import { cancelledRows } from "./cancelled-rows.ts";
import type { LaneChange } from "./release-lanes.ts";
import { stopReplays } from "./stop-replays.ts";
import type { ConfigurationEffect } from "./checkpoint-plan.ts";

/** What a repair did to the queue. */
interface Repaired {
  /** By how much the number of rows that stand in lanes changed. */
  readonly delta: number;
  /** Lanes in which something may go now. */
  readonly changes: readonly LaneChange[];
}

/** What a configuration transaction means for deliveries in the queue, by webhook. */
export async function applyRepairs(
  trx: Kysely<Database>,
  { changed, repairs }: ConfigurationEffect,
  claimed: readonly string[],
): Promise<readonly (readonly [webhookId: number, repaired: Repaired])[]> {
  const done: (readonly [number, Repaired])[] = [];
  const letGo = [...changed].filter(([, { webhook }]) => webhook["on_exhausted"] !== "hold").map(([id]) => id);
  if (letGo.length > 0) done.push(...(await releaseHolders(trx, letGo)));
  for (const repair of repairs) {
    const repaired = await applyRepair(trx, repair, claimed);
    if (repaired !== null) done.push([repair.webhookId, repaired]);
  }
  return done;
}

/** Null: the queue stays as it is. */
async function applyRepair(
  trx: Kysely<Database>,
  repair: Repair,
  claimed: readonly string[],
): Promise<Repaired | null> {
  switch (repair.kind) {
    case "replay_log":
      await beginReplay(trx, repair);
      return null;
    case "stop_replay":
      await stopReplay(trx, repair);
      return null;
    case "retry_now":
      await hasten(trx, repair, claimed);
      return null;
    case "cancel_waiting":
      return cancelWaiting(trx, repair, claimed);
    case "replay":
      return replayDeadLetters(trx, repair, claimed);
    case "cancel":
      return cancelDeadLetters(trx, repair, claimed);
    default:
      return repair.kind satisfies never;
  }
}

/** As many as walhook.retry_now says. */
const MAX_HASTENED = 10_000;

/** What waits for its time is due now. Its row is deleted, so that what it asked for is not asked for again. */
async function hasten(
  trx: Kysely<Database>,
  { id, webhookId, docname }: Repair,
  claimed: readonly string[],
): Promise<void> {
  await sql`
    update walhook.webhook_queue q set due_at = now()
    from (
      select w.delivery_id from walhook.webhook_queue w
      where w.webhook_id = ${webhookId} and w.due_at > now() and not w.is_dead and w.delivery_id <> all(${claimed}::text[])
        and (${docname}::text is null or w.docname = ${docname})
      order by w.due_at limit ${MAX_HASTENED}
    ) as due
    where q.delivery_id = due.delivery_id`.execute(trx);
  await sql`delete from walhook.repair where id = ${id} and kind = 'retry_now'`.execute(trx);
}

/** From here on the replayer knows of it. */
async function beginReplay(trx: Kysely<Database>, repair: Repair): Promise<void> {
  const { id, webhookId, docname, deliveryId, since, until, outcome, rate, requestedBy, requestedAt } = repair;
  const [fromLsn, toLsn] = [repair.fromLsn, repair.toLsn].map((lsn) => (lsn === null ? null : formatLsn(lsn)));
  await sql`
    insert into walhook.replay_state (replay_id, webhook_id, docname, delivery_id, since, until, from_lsn, to_lsn, outcome,
      rate, requested_by, requested_at)
    values (${id}, ${webhookId}, ${docname}, ${deliveryId}, ${since}::timestamptz, ${until}::timestamptz, ${fromLsn}::pg_lsn,
      ${toLsn}::pg_lsn, ${outcome}, ${rate ?? 50}, ${requestedBy}, ${requestedAt}::timestamptz)
    on conflict do nothing`.execute(trx);
}

async function stopReplay(trx: Kysely<Database>, { replayId }: Repair): Promise<void> {
  if (replayId !== null) await stopReplays(trx, sql`replay_id = ${replayId}`);
}

/**
 * Takes what waits out of the queue. Nothing that is meant is about to be sent: its webhook is held until this is durable,
 * and what is under way has been told that its attempt is the last one.
 */
async function cancelWaiting(trx: Kysely<Database>, repair: Repair, claimed: readonly string[]): Promise<Repaired> {
  const { webhookId, requestedBy } = repair;
  const { rows } = await sql<Row & { readonly is_dead: boolean }>`
    with ${cancelledRows(sql`${isMeant(repair)} and delivery_id <> all(${claimed}::text[])`, `${requestedBy} cancelled it`)}
    select docname, old_docname, is_barrier, is_dead, holds_lane from gone`.execute(trx);
  // What is under way ends with its request, which this process may not live to see.
  await sql`
    update walhook.webhook_queue set cancelled_by = ${requestedBy}
    where ${isMeant(repair)} and delivery_id = any(${claimed}::text[]) and not is_dead`.execute(trx);
  const inLanes = rows.filter(({ is_dead, holds_lane }) => !is_dead || holds_lane);
  return { delta: -inLanes.length, changes: toChanges(webhookId, inLanes) };
}

function isMeant({ webhookId, docname, deliveryId, since, until, fromLsn, toLsn }: Repair): RawBuilder<unknown> {
  const [from, to] = [fromLsn, toLsn].map((lsn) => (lsn === null ? null : formatLsn(lsn)));
  return sql`webhook_id = ${webhookId}
    and (${docname}::text is null or docname = ${docname})
    and (${deliveryId}::text is null or delivery_id = ${deliveryId})
    and (${since}::timestamptz is null or commit_time >= ${since}::timestamptz)
    and (${until}::timestamptz is null or commit_time < ${until}::timestamptz)
    and (${from}::pg_lsn is null or commit_lsn >= ${from}::pg_lsn)
    and (${to}::pg_lsn is null or commit_lsn <= ${to}::pg_lsn)`;
}

/**
 * Dead letters begin their schedule anew, inside the checkpoint that passes the request.
 * @param claimed deliveries that this process is dealing with: none of them was dead when the request was made
 */
async function replayDeadLetters(trx: Kysely<Database>, repair: Repair, claimed: readonly string[]): Promise<Repaired> {
  const { rows } = await sql<Row>`
    with mended as (
      select delivery_id, holds_lane from walhook.webhook_queue
      where ${deadLetters(repair, claimed)} and (body is not null or change is not null) for update
    )
    update walhook.webhook_queue q
    set is_dead = false, holds_lane = false, attempts = 0, source = 'replay',
        due_at = case when q.is_ordered then null else now() end
    from mended
    where q.delivery_id = mended.delivery_id
    returning q.docname, q.old_docname, q.is_barrier, mended.holds_lane`.execute(trx);
  return { delta: rows.length - countHolders(rows), changes: toChanges(repair.webhookId, rows) };
}

/** Dead letters leave the queue with a log row. */
async function cancelDeadLetters(trx: Kysely<Database>, repair: Repair, claimed: readonly string[]): Promise<Repaired> {
  const { rows } = await sql<Row>`
    with ${cancelledRows(deadLetters(repair, claimed), `${repair.requestedBy} cancelled this dead letter`)}
    select docname, old_docname, is_barrier, holds_lane from gone`.execute(trx);
  return { delta: -countHolders(rows), changes: toChanges(repair.webhookId, rows) };
}

function deadLetters({ webhookId, docname, deliveryId }: Repair, claimed: readonly string[]): RawBuilder<unknown> {
  return sql`
    webhook_id = ${webhookId} and is_dead and delivery_id <> all(${claimed}::text[])
      and (${docname}::text is null or docname = ${docname})
      and (${deliveryId}::text is null or delivery_id = ${deliveryId})`;
}

function countHolders(rows: readonly Row[]): number {
  return rows.filter(({ holds_lane }) => holds_lane).length;
}

/** Webhooks that hold nothing any more: what waited behind their dead letters goes on. */
async function releaseHolders(
  trx: Kysely<Database>,
  webhookIds: readonly number[],
): Promise<ReadonlyMap<number, Repaired>> {
  const { rows } = await sql<Row & { readonly webhook_id: number }>`
    update walhook.webhook_queue set holds_lane = false
    where webhook_id = any(${webhookIds}::integer[]) and is_dead and holds_lane
    returning webhook_id, docname, old_docname, is_barrier, true as holds_lane`.execute(trx);
  const byWebhook = new Map<number, Row[]>();
  for (const row of rows) byWebhook.set(row.webhook_id, [...(byWebhook.get(row.webhook_id) ?? []), row]);
  return new Map([...byWebhook].map(([id, held]) => [id, { delta: -held.length, changes: toChanges(id, held) }]));
}

function toChanges(webhookId: number, rows: readonly Row[]): LaneChange[] {
  return rows.map(({ docname, old_docname, is_barrier }) => ({
    delivery: { webhookId, docname, oldDocname: old_docname },
    isBarrier: is_barrier,
  }));
}

interface Row {
  readonly docname: string | null;
  readonly old_docname: string | null;
  readonly is_barrier: boolean;
  readonly holds_lane: boolean;
}
