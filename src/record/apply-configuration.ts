import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { ConfigurationEffect } from "./tracker.ts";

/**
 * Stores the webhooks in force; open deliveries of deleted ones are cancelled, with a log row each.
 * @param busy deliveries of the queue whose end this process records itself
 */
export async function applyConfiguration(
  trx: Kysely<Database>,
  { changed, removed }: ConfigurationEffect,
  busy: readonly string[],
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
      where webhook_id = any(${removed}::integer[]) and delivery_id <> all(${busy}::text[])
      returning delivery_id, attempts, webhook_id, webhook, doctype, docname, docevent, source, commit_lsn, xid,
        commit_time, is_dead, holds_lane
    ), logged as (
      insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname,
        docevent, source, outcome, error, lsn, xid, commit_time)
      select clock_timestamp(), delivery_id, attempts, webhook_id, webhook, doctype, docname, docevent, source, 'cancelled',
        'the webhook was deleted before this delivery could be made', commit_lsn, xid, commit_time
      from gone
    )
    select webhook_id, count(*) filter (where not is_dead or holds_lane)::int as cancelled from gone group by webhook_id`.execute(
    trx,
  );
  return rows.map(({ webhook_id, cancelled }) => [webhook_id, cancelled] as const);
}
