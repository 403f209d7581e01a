import { sql, type Kysely } from "kysely";
import type { Database } from "./schema.ts";

/** What the bridge says in `walhook.webhook_state.state`: why a webhook sends nothing, or nothing more than it should. The database itself adds `disabled`. */
export type WebhookState = "ok" | "held" | "undecided" | "blocked" | "invalid";

/** Writes what the bridge has to say about a webhook where a DBA looks; a reason stays as the last error. */
export async function showWebhookState(
  db: Kysely<Database>,
  webhookId: number,
  state: WebhookState,
  reason: string | null,
): Promise<void> {
  await sql`
    insert into walhook.webhook_state (webhook_id, name, state, last_error, last_error_at)
    select w.id, w.name, ${state}, ${reason}, case when ${reason}::text is not null then now() end
    from walhook.webhook w where w.id = ${webhookId}
    on conflict (webhook_id) do update
    set name = excluded.name,
        state = excluded.state,
        last_error = coalesce(excluded.last_error, webhook_state.last_error),
        last_error_at = coalesce(excluded.last_error_at, webhook_state.last_error_at),
        updated_at = now()`.execute(db);
}

/** What an earlier process has said of webhooks that the address guard blocks, by webhook number. */
export async function readBlocked(db: Kysely<Database>): Promise<ReadonlyMap<number, string>> {
  const rows = await db
    .selectFrom("walhook.webhook_state")
    .select(["webhook_id", "last_error"])
    .where("state", "=", "blocked")
    .execute();
  return new Map(rows.map(({ webhook_id, last_error }) => [webhook_id, last_error ?? ""]));
}
