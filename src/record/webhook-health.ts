import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import { patiently } from "../db/webhook-states.ts";
import { CLOSED, type Breaker } from "../deliver/breaker.ts";
import { Health } from "../deliver/health.ts";

/** How the webhooks did when an earlier process wrote it down, by webhook number. */
export async function readHealth(db: Kysely<Database>): Promise<ReadonlyMap<number, Health>> {
  const rows = await db
    .selectFrom("walhook.webhook_state as s")
    .innerJoin("walhook.webhook_in_force as f", "f.webhook_id", "s.webhook_id")
    .select([
      "s.webhook_id",
      "s.health",
      "s.breaker",
      "s.breaker_opened_at",
      "s.breaker_until",
      "s.breaker_openings",
      "s.consecutive_failures",
      "s.first_failure_at",
      "s.last_failure_at",
      "s.last_failure",
      "s.last_delivered_at",
    ])
    .execute();
  return new Map(
    rows.map((row) => {
      const health = new Health();
      health.state = row.health;
      health.breaker = toBreaker(row);
      health.failures = row.consecutive_failures;
      health.firstFailureAtMs = row.first_failure_at?.getTime() ?? null;
      health.lastFailureAtMs = row.last_failure_at?.getTime() ?? null;
      health.lastFailure = row.last_failure;
      health.lastDeliveredAtMs = row.last_delivered_at?.getTime() ?? null;
      return [row.webhook_id, health];
    }),
  );
}

interface BreakerRow {
  readonly breaker: "closed" | "open" | "half_open";
  readonly breaker_opened_at: Date | null;
  readonly breaker_until: Date | null;
  readonly breaker_openings: number;
}

/** Nobody knows what became of a probe: the next one finds out. */
function toBreaker({ breaker, breaker_opened_at, breaker_until, breaker_openings }: BreakerRow): Breaker {
  if (breaker === "closed" || breaker_opened_at === null || breaker_until === null) return CLOSED;
  const [sinceMs, untilMs] = [breaker_opened_at.getTime(), breaker_until.getTime()];
  return {
    kind: "open",
    sinceMs,
    untilMs,
    openMs: breaker_openings === 0 ? 0 : untilMs - sinceMs,
    openings: breaker_openings,
  };
}

/**
 * Writes how these webhooks do, in a transaction of its own: somebody's lock on one of these rows must delay neither the cursor
 * nor the other rows, so where they cannot be written together, each is written alone. A process that was taken over writes nothing.
 * That a webhook is disabled is written, and taken back, where its row is changed; a row of `walhook.alert` follows each change of `health`, by trigger.
 * @returns those that are still to be written
 */
export async function writeHealth(
  db: Kysely<Database>,
  epoch: bigint,
  news: ReadonlyMap<number, Health>,
): Promise<readonly number[]> {
  if (await patiently(db, (trx) => writeAll(trx, epoch, news))) return [];
  const left: number[] = [];
  for (const [id, health] of news) {
    // Where several are locked, all may be.
    const isTried = news.size > 1 && left.length < 3;
    const isWritten = isTried && (await patiently(db, (trx) => writeAll(trx, epoch, new Map([[id, health]]))));
    if (!isWritten) left.push(id);
  }
  return left;
}

async function writeAll(trx: Kysely<Database>, epoch: bigint, news: ReadonlyMap<number, Health>): Promise<void> {
  const all = [...news.values()];
  const shown = all.map(({ breaker }) => (breaker.kind === "closed" ? null : breaker));
  await sql`
    insert into walhook.webhook_state as s (webhook_id, name, health, breaker, breaker_opened_at, breaker_until,
      breaker_openings, consecutive_failures, first_failure_at, last_failure_at, last_failure, last_delivered_at)
    select w.id, w.name, n.health, n.breaker, to_timestamp(n.opened_ms / 1000.0), to_timestamp(n.until_ms / 1000.0), n.openings,
      n.failures, to_timestamp(n.first_ms / 1000.0), to_timestamp(n.last_ms / 1000.0), n.failure, to_timestamp(n.delivered_ms / 1000.0)
    from unnest(
      ${[...news.keys()]}::integer[],
      ${all.map(({ state }) => state)}::text[],
      ${all.map(({ breaker }) => breaker.kind)}::text[],
      ${shown.map((breaker) => breaker?.sinceMs ?? null)}::double precision[],
      ${shown.map((breaker) => breaker?.untilMs ?? null)}::double precision[],
      ${shown.map((breaker) => breaker?.openings ?? 0)}::integer[],
      ${all.map(({ failures }) => failures)}::integer[],
      ${all.map(({ firstFailureAtMs }) => firstFailureAtMs)}::double precision[],
      ${all.map(({ lastFailureAtMs }) => lastFailureAtMs)}::double precision[],
      ${all.map(({ lastFailure }) => lastFailure)}::text[],
      ${all.map(({ lastDeliveredAtMs }) => lastDeliveredAtMs)}::double precision[]
    ) as n (webhook_id, health, breaker, opened_ms, until_ms, openings, failures, first_ms, last_ms, failure, delivered_ms)
    join walhook.webhook w on w.id = n.webhook_id
    where exists (select from walhook.bridge b where b.epoch = ${epoch.toString()}::bigint)
      and (n.health <> 'disabled' or exists (select from walhook.webhook_state known where known.webhook_id = w.id))
    order by w.id
    on conflict (webhook_id) do update
    set name = excluded.name,
        health = case when 'disabled' in (s.health, excluded.health) then s.health else excluded.health end,
        breaker = excluded.breaker,
        breaker_opened_at = excluded.breaker_opened_at,
        breaker_until = excluded.breaker_until,
        breaker_openings = excluded.breaker_openings,
        consecutive_failures = excluded.consecutive_failures,
        first_failure_at = excluded.first_failure_at,
        last_failure_at = excluded.last_failure_at,
        last_failure = excluded.last_failure,
        last_delivered_at = excluded.last_delivered_at,
        updated_at = now()`.execute(trx);
}
