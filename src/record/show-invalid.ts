import type { WebhookStates } from "../db/webhook-states.ts";
import type { InForce } from "../match/in-force.ts";
import { templateProblem } from "../render/render.ts";

/** Shows webhooks as `invalid` whose template cannot be rendered, which the database could not check. */
export function showInvalid(states: WebhookStates, { webhooks }: InForce, webhookIds: Iterable<number>): void {
  for (const id of webhookIds) {
    const webhook = webhooks.get(id);
    const problem = webhook === undefined ? null : templateProblem(webhook);
    if (problem !== null) states.show("template", id, "invalid", problem);
    else states.forget("template", id);
  }
}
