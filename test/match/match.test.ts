import { describe, expect, it } from "vitest";
import type { Definition } from "../../src/match/in-force.ts";
import { InForce } from "../../src/match/in-force.ts";
import { match } from "../../src/match/match.ts";
import type { Question, Verdict } from "../../src/match/question.ts";
import { eventOf, inserted, order, ORDERS, updated } from "../render/changes.ts";

const WEBHOOKS = 2000;
const EVENTS = 120;

function definitionOf(id: number): Definition {
  const condition = { condition_function: `c${id}`, condition_columns: "{id}", condition_uses_old: "f" };
  const webhook = { id: String(id), name: `w${id}`, doctype_oid: String(ORDERS.oid), webhook_docevent: "after_insert" };
  return { webhook: { ...webhook, enabled: "t", ...condition }, headers: [], data: [], secret: null };
}

const inForce = new InForce(new Map(Array.from({ length: WEBHOOKS }, (_, i) => [i + 1, definitionOf(i + 1)])));
const events = Array.from({ length: EVENTS }, (_, i) => eventOf(inserted(order({ id: String(i) })), "after_insert"));

describe("many webhooks on one table", () => {
  it("are asked about so many pairs at a time, every event of each, in order", async () => {
    const sizes: number[] = [];
    // Each webhook fires for one event in a hundred.
    const ask = (questions: readonly Question[]): Promise<readonly (readonly Verdict[])[]> => {
      sizes.push(questions.reduce((sum, { doc }) => sum + doc.length, 0));
      const answer = (doc: string | null, webhookId: number): Verdict =>
        Number(/\d+/.exec(doc ?? "")?.[0]) % 100 === webhookId % 100 ? { kind: "true" } : { kind: "false" };
      return Promise.resolve(questions.map(({ doc, webhookId }) => doc.map((literal) => answer(literal, webhookId))));
    };
    const matches = await match(events, inForce, new Map(), { ask });
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(WEBHOOKS * EVENTS);
    expect(Math.max(...sizes)).toBeLessThan(100_000 + WEBHOOKS);
    const expected = events.flatMap((event, i) =>
      Array.from({ length: WEBHOOKS / 100 }, (_, k) => `${event.docname} ${(i % 100 === 0 ? 100 : i % 100) + 100 * k}`),
    );
    expect(matches.map(({ event, webhook }) => `${event.docname} ${webhook.id}`)).toEqual(expected);
  });

  it("that read the same columns of the same events ask with the same arrays, others with their own", async () => {
    const third: Definition = definitionOf(3);
    const reads = (id: number, columns: string): Definition => ({
      ...definitionOf(id),
      webhook: { ...definitionOf(id).webhook, condition_columns: columns },
    });
    const few = new InForce(
      new Map([
        [1, definitionOf(1)],
        [2, definitionOf(2)],
        [3, { ...third, webhook: { ...third.webhook, webhook_docevent: "after_insert,on_update" } }],
        [WEBHOOKS + 1, reads(WEBHOOKS + 1, "{id,customer}")],
      ]),
    );
    const later = eventOf(updated(order({ id: "7" }), null), "on_update");
    const asked: Question[] = [];
    const ask = (questions: readonly Question[]): Promise<readonly (readonly Verdict[])[]> => {
      asked.push(...questions);
      return Promise.resolve(questions.map(({ doc }) => doc.map((): Verdict => ({ kind: "false" }))));
    };
    await match([...events.slice(0, 2), later], few, new Map(), { ask });
    const [first, second, both, wider] = asked;
    expect(second?.doc).toBe(first?.doc);
    expect(second?.event).toBe(first?.event);
    expect(first?.doc).toEqual(['{"0"}', '{"1"}']);
    expect(both?.doc).toEqual(['{"0"}', '{"1"}', '{"7"}']);
    expect(both?.event).toEqual(["after_insert", "after_insert", "on_update"]);
    expect(wider?.doc).toHaveLength(2);
    expect(wider?.doc).not.toEqual(first?.doc);
  });
});
