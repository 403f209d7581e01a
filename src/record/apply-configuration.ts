import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import { cancelledRows } from "./cancelled-rows.ts";
import type { ConfigurationEffect } from "./checkpoint-plan.ts";
import { stopReplays } from "./stop-replays.ts";

/**
 * Stores the webhooks in force; open deliveries of deleted ones are cancelled, with a log row each, and their replays end.
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
  await stopReplays(trx, sql`webhook_id = any(${removed}::integer[])`);
  await trx
    .deleteFrom("walhook.webhook_in_force")
    .where("webhook_id", "=", sql<number>`any(${removed})`)
    .execute();
  const { rows } = await sql<{ webhook_id: number; cancelled: number }>`
    with ${cancelledRows(
      sql`webhook_id = any(${removed}::integer[]) and delivery_id <> all(${busy}::text[])`,
      "the webhook was deleted before this delivery could be made",
    )}
    select webhook_id, count(*) filter (where not is_dead or holds_lane)::int as cancelled from gone group by webhook_id`.execute(
    trx,
  );
  return rows.map(({ webhook_id, cancelled }) => [webhook_id, cancelled] as const);
}
