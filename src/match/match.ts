import type { Row, RowChange } from "../decode/row-change.ts";
import type { DocEvent } from "../events/doc-event.ts";
import { rowAfter } from "../events/row-after.ts";
import type { Conditions } from "./conditions.ts";
import { declinedBecause, passedBecause } from "./declined.ts";
import type { Question, Verdict } from "./question.ts";
import type { InForce } from "./in-force.ts";
import { rowLiteral } from "./row-literal.ts";
import type { Condition, Webhook } from "./webhook.ts";

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

/** Why a webhook is held: its events wait undecided. By webhook number. */
export type Held = ReadonlyMap<number, string>;

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
  held: Held,
  conditions: Pick<Conditions, "ask">,
): Promise<readonly Match[]> {
  const found: Candidate[] = [];
  let candidates: Candidate[] = [];
  const watchers = placesByWebhook(events, inForce);
  for (const [webhook, places] of watchers) {
    const heldBecause = held.get(webhook.id);
    for (const place of places) candidates.push(toCandidate(webhook, events[place]!, heldBecause, place));
    if (candidates.length < MAX_CANDIDATES) continue;
    await decide(candidates, conditions, found);
    candidates = [];
  }
  await decide(candidates, conditions, found);
  const passed = inForce.onlookers === undefined ? 0 : findPassed(events, inForce.onlookers, found);
  // Stable, so that an event's webhooks keep their order.
  const inOrder = watchers.length > 1 || passed > 0 ? found.toSorted((a, b) => a.place - b.place) : found;
  return inOrder.map(settle).filter((one) => one !== null);
}

/** For each webhook, by its number, where the events stand that it watches for. */
function placesByWebhook(
  events: readonly DocEvent[],
  inForce: Watching,
): readonly (readonly [Webhook, readonly number[]])[] {
  const places = new Map<Webhook, number[]>();
  for (const [place, { change, name }] of events.entries()) {
    for (const webhook of inForce.onTable(change.relation.oid)?.get(name) ?? []) {
      const known = places.get(webhook);
      if (known === undefined) places.set(webhook, [place]);
      else known.push(place);
    }
  }
  return [...places].toSorted(([a], [b]) => a.id - b.id);
}

/**
 * Adds the changes that an onlooker does not take, each once, at the place of its first event. Returns how many there are.
 * A change's events stand side by side.
 */
function findPassed(
  events: readonly DocEvent[],
  onlookers: ReadonlyMap<number, readonly Webhook[]>,
  found: Candidate[],
): number {
  const before = found.length;
  let relation: RowChange["relation"] | null = null;
  let webhooks: readonly Webhook[] | undefined;
  for (let place = 0, next = 0; place < events.length; place = next) {
    const first = events[place]!;
    next = place + 1;
    if (first.change.relation !== relation) {
      ({ relation } = first.change);
      webhooks = onlookers.get(relation.oid);
    }
    if (webhooks === undefined) continue;
    while (next < events.length && events[next]!.change === first.change) next++;
    const ofChange = events.slice(place, next);
    for (const webhook of webhooks) {
      const reason = passedBecause(webhook, ofChange);
      if (reason === null) continue;
      found.push({ webhook, event: first, obstacle: { kind: "declined", reason }, place, verdict: null });
    }
  }
  return found.length - before;
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

interface Obstacle {
  readonly kind: "undecidable" | "undecided";
  readonly reason: string;
}

interface Candidate {
  readonly webhook: Webhook;
  readonly event: DocEvent;
  readonly obstacle: Obstacle | { readonly kind: "declined"; readonly reason: string } | null;
  /** Where the event stands among those that are matched. */
  readonly place: number;
  verdict: Verdict | null;
}

function toCandidate(webhook: Webhook, event: DocEvent, heldBecause: string | undefined, place: number): Candidate {
  return { webhook, event, obstacle: obstacleOf(webhook, event, heldBecause), place, verdict: null };
}

function obstacleOf(webhook: Webhook, event: DocEvent, heldBecause: string | undefined): Obstacle | null {
  if (!event.isCertain) return { kind: "undecidable", reason: oldUnknown(event) };
  if (heldBecause !== undefined) return { kind: "undecided", reason: heldBecause };
  return webhook.condition === null ? null : missingValue(webhook.condition, event);
}

const REMEDY = "REPLICA IDENTITY FULL on the table (every partition included) makes it carry all values";

function oldUnknown(event: DocEvent): string {
  return `whether ${event.name} happened depends on the row before, which the WAL does not carry; ${REMEDY}`;
}

/** The row that conditions see as `old`: before an update or a delete; all NULL for every other change. */
function oldOf(change: RowChange): Row | null {
  return change.kind === "update" || change.kind === "delete" ? change.old : null;
}

/** Why a condition cannot be asked about this change; null where it can. */
function missingValue(condition: Condition, { change }: DocEvent): Obstacle | null {
  const indexes = columnIndexes(condition, change);
  const doc = rowAfter(change);
  const old = oldOf(change);
  for (let i = 0; i < indexes.length; i++) {
    const index = indexes[i] ?? -1;
    const name = condition.columns[i];
    if (index < 0) {
      const reason = `the condition reads ${name}, which ${change.relation.doctype} no longer has; mend it with an UPDATE of walhook.webhook`;
      return { kind: "undecided", reason };
    }
    if (doc !== null && doc[index] === undefined) {
      return change.oversized?.includes(index) === true ? tooLarge(`doc.${name}`) : unknownValue(`doc.${name}`);
    }
    if (condition.usesOld && change.kind === "update" && old?.[index] === undefined) return unknownValue(`old.${name}`);
  }
  return null;
}

function unknownValue(name: string): Obstacle {
  const reason = `the condition could need ${name}, which the WAL does not carry for this change; ${REMEDY}`;
  return { kind: "undecidable", reason };
}

function tooLarge(name: string): Obstacle {
  const reason =
    `the condition could need ${name}, which makes the row larger than Walhook takes into memory; ` +
    "leave it out of the condition, or raise --max-row-bytes";
  return { kind: "undecidable", reason };
}

const indexCache = new WeakMap<RowChange["relation"], Map<string, readonly number[]>>();

/** Where a condition's columns stand in the relation; -1 for a column it does not have (any more). */
function columnIndexes(condition: Condition, { relation }: RowChange): readonly number[] {
  const ofRelation = indexCache.get(relation) ?? new Map<string, readonly number[]>();
  indexCache.set(relation, ofRelation);
  const known = ofRelation.get(condition.functionName);
  if (known !== undefined) return known;
  const indexes = condition.columns.map((name) => relation.columns.findIndex((column) => column.name === name));
  ofRelation.set(condition.functionName, indexes);
  return indexes;
}

/** What one webhook has to ask about one event: nothing, one row, or nothing that could be answered. */
export type OneQuestion =
  | { readonly kind: "none" }
  | { readonly kind: "ask"; readonly question: Question }
  | { readonly kind: "undecidable" | "undecided"; readonly reason: string };

/** The question for one event alone, as an undecided delivery asks it again. */
export function questionOf(webhook: Webhook, event: DocEvent): OneQuestion {
  const obstacle = obstacleOf(webhook, event, undefined);
  if (obstacle !== null) return obstacle;
  const [gathered] = collectQuestions([{ webhook, event, obstacle, place: 0, verdict: null }]);
  return gathered === undefined ? { kind: "none" } : { kind: "ask", question: gathered.question };
}

interface Gathered {
  readonly question: Question;
  readonly askers: Candidate[];
}

function collectQuestions(candidates: readonly Candidate[]): readonly Gathered[] {
  const byWebhook = new Map<number, Candidate[]>();
  for (const candidate of candidates) {
    const { webhook, obstacle } = candidate;
    if (webhook.condition === null || obstacle !== null) continue;
    const askers = byWebhook.get(webhook.id);
    if (askers === undefined) byWebhook.set(webhook.id, [candidate]);
    else askers.push(candidate);
  }
  /** The last rows that were made of these columns. */
  const byColumns = new Map<string, { readonly askers: readonly Candidate[]; readonly rows: QuestionRows }>();
  return [...byWebhook.values()].map((askers) => {
    const { webhook } = askers[0]!;
    const { functionName, columns, usesOld } = webhook.condition!;
    const key = JSON.stringify([usesOld, columns]);
    let last = byColumns.get(key);
    // Webhooks that read the same of the same events ask with the same arrays, which are made and sent once.
    if (last === undefined || !haveSameEvents(last.askers, askers)) {
      byColumns.set(key, (last = { askers, rows: toRows(webhook.condition!, askers) }));
    }
    return { askers, question: { webhookId: webhook.id, functionName, ...last.rows } };
  });
}

type QuestionRows = Pick<Question, "doc" | "old" | "event">;

function toRows(condition: Condition, askers: readonly Candidate[]): QuestionRows {
  const doc: (string | null)[] = [];
  const old: (string | null)[] = [];
  const names: string[] = [];
  for (const { event } of askers) {
    const indexes = columnIndexes(condition, event.change);
    doc.push(toLiteral(rowAfter(event.change), indexes));
    old.push(condition.usesOld ? toLiteral(oldOf(event.change), indexes) : null);
    names.push(event.name);
  }
  return { doc, old, event: names };
}

function haveSameEvents(some: readonly Candidate[], others: readonly Candidate[]): boolean {
  return some.length === others.length && some.every(({ event }, index) => event === others[index]?.event);
}

function toLiteral(row: Row | null, indexes: readonly number[]): string | null {
  return row === null ? null : rowLiteral(indexes.map((index) => row[index] ?? null));
}

function settle({ webhook, event, obstacle, verdict }: Candidate): Match | null {
  if (obstacle !== null) return { webhook, event, ...obstacle };
  if (webhook.condition === null) return { webhook, event, kind: "fires" };
  if (verdict === null) return { webhook, event, kind: "undecided", reason: "the condition was not answered" };
  switch (verdict.kind) {
    case "true":
      return { webhook, event, kind: "fires" };
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
