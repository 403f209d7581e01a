import { escapeLiteral } from "pg";
import type { DeliveryFacts } from "./delivery-facts.ts";
import { problem, warning, type Finding } from "./finding.ts";

/**
 * Judges how webhooks do: which of them send nothing, or fail. What keeps one from sending for its author's rights, its address, its
 * secrets or its receiver's consent is found by `checkAuthors` and `checkWebhooks`.
 */
export function checkDeliveries(webhooks: readonly DeliveryFacts[]): readonly Finding[] {
  return webhooks.flatMap((webhook) => [...state(webhook), ...health(webhook), ...deadLetters(webhook)]);
}

function state({ name, isEnabled, isPaused, state: found, lastError, waiting }: DeliveryFacts): readonly Finding[] {
  const where = `webhook ${name}`;
  const because = lastError ?? "no reason recorded";
  if (!isEnabled) {
    if (found !== "disabled") return [];
    return [
      problem(
        where,
        `Walhook has disabled it: ${because}`,
        "What is committed now passes it by: mend the receiver first.",
      ),
    ];
  }
  if (isPaused) {
    return [warning(where, `is paused, ${deliveries(waiting)}`, `select walhook.resume(${escapeLiteral(name)});`)];
  }
  switch (found) {
    case "undecided":
      return [
        problem(
          where,
          `cannot decide, ${deliveries(waiting)}: ${because}`,
          "Change its condition or its webhook_data: what waits is asked again.",
        ),
      ];
    case "invalid":
      return [problem(where, `can make nothing: ${because}`, "Change its template.")];
    default:
      return [];
  }
}

function health({ name, isEnabled, health: found, lastFailure, waiting }: DeliveryFacts): readonly Finding[] {
  if (!isEnabled || (found !== "opened" && found !== "failing")) return [];
  const what = `its receiver fails, ${deliveries(waiting)}: ${lastFailure ?? "no reason recorded"}`;
  const remedy = "Mend the receiver: what waits is tried again by the webhook's schedule, see walhook.status.";
  return [found === "opened" ? problem(`webhook ${name}`, what, remedy) : warning(`webhook ${name}`, what, remedy)];
}

function deadLetters({ name, deadLetters: dead }: DeliveryFacts): readonly Finding[] {
  if (dead === 0) return [];
  const remedy =
    `select docname, last_error from walhook.dead_letter where webhook = ${escapeLiteral(name)}; ` +
    `then walhook.replay_dead_letters(${escapeLiteral(name)}), or walhook.cancel_dead_letters(${escapeLiteral(name)})`;
  return [warning(`webhook ${name}`, `${dead} dead ${dead === 1 ? "letter" : "letters"}`, remedy)];
}

function deliveries(waiting: number): string {
  return waiting === 1 ? "1 delivery waits" : `${waiting} deliveries wait`;
}
