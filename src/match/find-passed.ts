import type { RowChange } from "../decode/row-change.ts";
import type { DocEvent } from "../events/doc-event.ts";
import type { Candidate } from "./candidate.ts";
import { passedBecause } from "./declined.ts";
import type { Webhook } from "./webhook.ts";

/**
 * Adds the changes that an onlooker does not take, each once, at the index of its first event. Returns how many there are.
 * A change's events stand side by side.
 */
export function findPassed(
  events: readonly DocEvent[],
  onlookers: ReadonlyMap<number, readonly Webhook[]>,
  found: Candidate[],
): number {
  const before = found.length;
  let relation: RowChange["relation"] | null = null;
  let webhooks: readonly Webhook[] | undefined;
  for (let eventIndex = 0, next = 0; eventIndex < events.length; eventIndex = next) {
    const first = events[eventIndex]!;
    next = eventIndex + 1;
    if (first.change.relation !== relation) {
      ({ relation } = first.change);
      webhooks = onlookers.get(relation.oid);
    }
    if (webhooks === undefined) continue;
    while (next < events.length && events[next]!.change === first.change) next++;
    const ofChange = events.slice(eventIndex, next);
    for (const webhook of webhooks) {
      const reason = passedBecause(webhook, ofChange);
      if (reason === null) continue;
      found.push({ webhook, event: first, obstacle: { kind: "declined", reason }, eventIndex, verdict: null });
    }
  }
  return found.length - before;
}
