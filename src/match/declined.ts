import type { DocEvent } from "../events/doc-event.ts";
import type { Webhook } from "./webhook.ts";

/** Why nothing is sent where a condition does not hold, in words for `walhook.webhook_decision`. */
export function declinedBecause({ condition }: Pick<Webhook, "condition">, verdict: "false" | "null"): string {
  if (verdict === "null") return IS_NULL;
  return condition?.tellsNull === false ? IS_FALSE_OR_NULL : "its condition is FALSE for this row";
}

const IS_NULL =
  "its condition is NULL (unknown) for this row, which does not fire: a value in it is NULL; see coalesce or IS DISTINCT FROM";

const IS_FALSE_OR_NULL =
  "its condition is FALSE or NULL for this row; an earlier version of Walhook made its function, which does not tell the two apart until its author changes the webhook";

/**
 * Why nothing is sent of a change that a webhook has not asked for, or was disabled for; null: it is taken.
 * @param ofChange what the change is, one event at least
 */
export function passedBecause(
  { enabled, events }: Pick<Webhook, "enabled" | "events">,
  ofChange: readonly Pick<DocEvent, "name" | "isCertain">[],
): string | null {
  const isChosen = ofChange.some(({ name }) => events.includes(name));
  if (enabled && isChosen) return null;
  const reasons = enabled ? [] : ["it was disabled when the change was committed"];
  if (!isChosen) {
    // What may have happened is not said where something did.
    const certain = ofChange.filter(({ isCertain }) => isCertain);
    const names = (certain.length > 0 ? certain : ofChange).map(({ name }) => name);
    reasons.push(`event not chosen: the change is ${list(names)}, it watches ${list(events)}`);
  }
  return reasons.join("; ");
}

function list(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
