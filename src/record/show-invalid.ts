import type { Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import { showWebhookState } from "../db/webhook-state.ts";
import type { InForce } from "../match/in-force.ts";
import { templateProblem } from "../render/render.ts";

/** Says of those of these webhooks whose template nothing can be rendered by, which the database could not check, that they are invalid. */
export async function showInvalid(
  db: Kysely<Database>,
  { webhooks }: InForce,
  webhookIds: Iterable<number>,
): Promise<void> {
  for (const id of webhookIds) {
    const webhook = webhooks.get(id);
    const problem = webhook === undefined ? null : templateProblem(webhook);
    if (problem !== null) await showWebhookState(db, id, "invalid", problem);
  }
}
