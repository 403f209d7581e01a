import type { DocEvent } from "../events/doc-event.ts";
import type { Candidate } from "./candidate.ts";
import { collectQuestions } from "./collect-questions.ts";
import type { Conditions } from "./conditions.ts";
import { declinedBecause } from "./declined.ts";
import { findPassed } from "./find-passed.ts";
import type { InForce } from "./in-force.ts";
import { missingField } from "./missing-field.ts";
import { obstacleOf } from "./obstacle.ts";
import type { Verdict } from "./question.ts";
import type { Webhook } from "./webhook.ts";

/** What is known of an event and a webhook that watches for it. A condition that does not hold makes no match, unless that is to be written down. */
export type Match = { readonly webhook: Webhook; readonly event: DocEvent } & (
  | { readonly kind: "fires" }
  /** Nobody can say whether it fires: a value that is needed is not in the WAL. */
  | { readonly kind: "undecidable"; readonly reason: string }
  /** The condition raised an error for this row. */
  | { readonly kind: "error"; readonly reason: string }
  /** The condition does not hold, or the change is not for it, and its webhook wants that to be known. */
  | { readonly kind: "declined"; readonly reason: string }
  /** The condition could not be asked now; it is asked again later, from the queue. */
  | { readonly kind: "undecided"; readonly reason: string }
);

/** Webhooks whose author may no longer read the table, by number, with the reason: their events wait undecided. */
export type WithoutRights = ReadonlyMap<number, string>;

/**
 * Pairs of an event and a webhook that are looked at together: 1,000 events and 10,000 webhooks make ten million.
 */
const MAX_CANDIDATES = 100_000;

/** Who watches what. */
type Watching = Pick<InForce, "onTable"> & Partial<Pick<InForce, "onlookers">>;

/**
 * Finds the webhooks that fire for these events, in the events' order; conditions are asked of Postgres
 * together. A rejection means that nothing was decided (the connection is gone).
 *
 * Webhook by webhook, not event by event: a question costs Postgres 75 µs besides 0.5 µs a row, so each is asked once,
 * about all its events.
 */
export async function match(
  events: readonly DocEvent[],
  inForce: Watching,
  withoutRights: WithoutRights,
  conditions: Pick<Conditions, "ask">,
): Promise<readonly Match[]> {
  const found: Candidate[] = [];
  let candidates: Candidate[] = [];
  const watchers = indexesByWebhook(events, inForce);
  for (const [webhook, indexes] of watchers) {
    const heldBecause = withoutRights.get(webhook.id);
    for (const eventIndex of indexes)
      candidates.push(toCandidate(webhook, events[eventIndex]!, heldBecause, eventIndex));
    if (candidates.length < MAX_CANDIDATES) continue;
    await decide(candidates, conditions, found);
    candidates = [];
  }
  await decide(candidates, conditions, found);
  const passed = inForce.onlookers === undefined ? 0 : findPassed(events, inForce.onlookers, found);
  // Stable, so that an event's webhooks keep their order.
  const inOrder = watchers.length > 1 || passed > 0 ? found.toSorted((a, b) => a.eventIndex - b.eventIndex) : found;
  return inOrder.map(settle).filter((one) => one !== null);
}

/** For each webhook, by its number, where the events stand that it watches for. */
function indexesByWebhook(
  events: readonly DocEvent[],
  inForce: Watching,
): readonly (readonly [Webhook, readonly number[]])[] {
  const indexes = new Map<Webhook, number[]>();
  for (const [eventIndex, { change, name }] of events.entries()) {
    for (const webhook of inForce.onTable(change.relation.oid)?.get(name) ?? []) {
      const known = indexes.get(webhook);
      if (known === undefined) indexes.set(webhook, [eventIndex]);
      else known.push(eventIndex);
    }
  }
  return [...indexes].toSorted(([a], [b]) => a.id - b.id);
}

/** Adds to `found` what did not turn out false, or is to be written down. */
async function decide(
  candidates: readonly Candidate[],
  conditions: Pick<Conditions, "ask">,
  found: Candidate[],
): Promise<void> {
  const questions = collectQuestions(candidates);
  if (questions.length > 0) {
    const answers = await conditions.ask(questions.map(({ question }) => question));
    questions.forEach(({ askers }, q) => {
      askers.forEach((asker, row) => {
        const verdict = answers[q]?.[row];
        if (verdict !== undefined) asker.verdict = verdict;
      });
    });
  }
  for (const candidate of candidates) {
    if (candidate.webhook.logsDecisions || !isDeclined(candidate.verdict)) found.push(candidate);
  }
}

function isDeclined(verdict: Verdict | null): boolean {
  return verdict !== null && (verdict.kind === "false" || verdict.kind === "null");
}

function toCandidate(
  webhook: Webhook,
  event: DocEvent,
  heldBecause: string | undefined,
  eventIndex: number,
): Candidate {
  return { webhook, event, obstacle: obstacleOf(webhook, event, heldBecause), eventIndex, verdict: null };
}

function settle({ webhook, event, obstacle, verdict }: Candidate): Match | null {
  if (obstacle !== null) return { webhook, event, ...obstacle };
  if (webhook.condition === null) return fires(webhook, event);
  if (verdict === null) return { webhook, event, kind: "undecided", reason: "the condition was not answered" };
  switch (verdict.kind) {
    case "true":
      return fires(webhook, event);
    case "false":
    case "null":
      if (!webhook.logsDecisions) return null;
      return { webhook, event, kind: "declined", reason: declinedBecause(webhook, verdict.kind) };
    case "error":
      return { webhook, event, kind: "error", reason: verdict.message };
    case "timeout":
      return { webhook, event, kind: "undecided", reason: "the condition did not answer in time" };
    case "undecided":
      return { webhook, event, kind: "undecided", reason: verdict.message };
    default:
      return verdict satisfies never;
  }
}

/** It is sent, or waits until its body can be made. */
function fires(webhook: Webhook, event: DocEvent): Match {
  const reason = missingField(webhook, event);
  return reason === null ? { webhook, event, kind: "fires" } : { webhook, event, kind: "undecided", reason };
}
