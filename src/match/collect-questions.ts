import type { DocEvent } from "../events/doc-event.ts";
import { rowAfter } from "../events/row-after.ts";
import type { Candidate } from "./candidate.ts";
import { columnIndexes, oldOf, toLiteral } from "./condition-input.ts";
import { obstacleOf } from "./obstacle.ts";
import type { Question } from "./question.ts";
import type { Condition, Webhook } from "./webhook.ts";

/** What one webhook has to ask about one event: nothing, one row, or nothing that could be answered. */
export type OneQuestion =
  | { readonly kind: "none" }
  | { readonly kind: "ask"; readonly question: Question }
  | { readonly kind: "undecidable" | "undecided"; readonly reason: string };

/** The question for one event alone, as an undecided delivery asks it again. */
export function questionOf(webhook: Webhook, event: DocEvent): OneQuestion {
  const obstacle = obstacleOf(webhook, event, undefined);
  if (obstacle !== null) return obstacle;
  const [gathered] = collectQuestions([{ webhook, event, obstacle, eventIndex: 0, verdict: null }]);
  return gathered === undefined ? { kind: "none" } : { kind: "ask", question: gathered.question };
}

/** A question, and whose verdicts its rows are, in their order. */
export interface Gathered {
  readonly question: Question;
  readonly askers: Candidate[];
}

/** What candidates have to ask: one question a webhook. */
export function collectQuestions(candidates: readonly Candidate[]): readonly Gathered[] {
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
