import { describe, expect, it } from "vitest";
import type { RowChange } from "../../src/decode/row-change.ts";
import { docEvents } from "../../src/events/doc-events.ts";
import type { WebhookDefinition } from "../../src/db/schema.ts";
import { InForce } from "../../src/match/in-force.ts";
import { match } from "../../src/match/match.ts";
import type { Question, Verdict } from "../../src/match/question.ts";
import { deleted, eventOf, inserted, order, ORDERS, updated } from "../render/changes.ts";

const WEBHOOKS = 2000;
const EVENTS = 120;

function definitionOf(id: number): WebhookDefinition {
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
    const third: WebhookDefinition = definitionOf(3);
    const reads = (id: number, columns: string): WebhookDefinition => ({
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

describe("a change that a webhook does not take", () => {
  const plain = (id: number, row: Readonly<Record<string, string>>): readonly [number, WebhookDefinition] => [
    id,
    {
      webhook: { id: String(id), name: `w${id}`, doctype_oid: String(ORDERS.oid), enabled: "t", ...row },
      headers: [],
      data: [],
      secret: null,
    },
  ];
  const nobody = { ask: () => Promise.reject(new Error("nothing is to be asked")) };
  const at = (id: number, index: number): { position: RowChange["position"] } => ({
    position: { commitLsn: 1n, changeLsn: BigInt(id), index },
  });
  const changes: readonly RowChange[] = [
    { ...inserted(order({ id: "1" })), ...at(1, 0) },
    { ...updated(order({ id: "1", note: "b" }), order({ id: "1", note: "a" })), ...at(2, 0) },
    { ...updated(order({ id: "2", note: "b" }), order({ id: "2", note: "a" })), ...at(2, 1) },
    { ...deleted(order({ id: "1" })), ...at(3, 0) },
    { ...inserted(order({ id: "3" }), { ...ORDERS, oid: 77 }), ...at(4, 0) },
  ];
  const all = changes.flatMap((change) => docEvents(change));
  const tell = async (...definitions: (readonly [number, WebhookDefinition])[]): Promise<readonly string[]> =>
    (await match(all, new InForce(new Map(definitions)), new Map(), nobody)).map(
      (found) => `${found.event.docname} w${found.webhook.id} ${"reason" in found ? found.reason : found.kind}`,
    );

  it("is told once, whatever its doc events, of webhooks that keep decisions alone, at its place", async () => {
    expect(
      await tell(
        plain(1, { webhook_docevent: "after_insert" }),
        plain(2, { webhook_docevent: "after_insert, on_change", log_decisions: "t" }),
        plain(3, { webhook_docevent: "on_update", log_decisions: "t" }),
      ),
    ).toEqual([
      "1 w1 fires",
      "1 w2 fires",
      "1 w3 event not chosen: the change is after_insert and on_change, it watches on_update",
      "1 w2 fires",
      "1 w3 fires",
      "1 w2 fires",
      "2 w3 fires",
      "2 w2 fires",
      "1 w2 event not chosen: the change is on_trash, it watches after_insert and on_change",
      "1 w3 event not chosen: the change is on_trash, it watches on_update",
    ]);
  });

  it("is told of a disabled webhook, whose condition is not asked", async () => {
    expect(
      await tell(
        plain(1, { webhook_docevent: "on_trash", enabled: "f", log_decisions: "t", condition_function: "c1_1" }),
        plain(2, { webhook_docevent: "on_trash", enabled: "f" }),
      ),
    ).toEqual([
      "1 w1 it was disabled when the change was committed; event not chosen: the change is after_insert and on_change, it watches on_trash",
      "1 w1 it was disabled when the change was committed; event not chosen: the change is on_update and on_change, it watches on_trash",
      "2 w1 it was disabled when the change was committed; event not chosen: the change is on_update and on_change, it watches on_trash",
      "1 w1 it was disabled when the change was committed",
    ]);
  });

  it("is not looked for where no webhook keeps decisions", async () => {
    const definitions = [plain(1, { webhook_docevent: "on_trash" })];
    expect(new InForce(new Map(definitions)).onlookers).toBeUndefined();
    expect(await tell(...definitions)).toEqual(["1 w1 fires"]);
  });
});

describe("a condition that does not hold", () => {
  it("is told, with FALSE and NULL apart, of a webhook that keeps decisions, and leaves nothing behind of another", async () => {
    const asked = (id: number, row: Readonly<Record<string, string>>): readonly [number, WebhookDefinition] => [
      id,
      { ...definitionOf(id), webhook: { ...definitionOf(id).webhook, ...row } },
    ];
    const few = new InForce(
      new Map([
        asked(1, {}),
        asked(2, { log_decisions: "t", condition_tells_null: "t" }),
        asked(3, { log_decisions: "t" }),
      ]),
    );
    const verdicts: readonly Verdict[] = [{ kind: "true" }, { kind: "false" }, { kind: "null" }];
    const ask = (questions: readonly Question[]) => Promise.resolve(questions.map(() => verdicts));
    const found = await match(events.slice(0, 3), few, new Map(), { ask });
    expect(
      found.map((one) => [one.event.docname, one.webhook.id, one.kind, "reason" in one ? one.reason.slice(0, 34) : ""]),
    ).toEqual([
      ["0", 1, "fires", ""],
      ["0", 2, "fires", ""],
      ["0", 3, "fires", ""],
      ["1", 2, "declined", "its condition is FALSE for this ro"],
      ["1", 3, "declined", "its condition is FALSE or NULL for"],
      ["2", 2, "declined", "its condition is NULL (unknown) fo"],
      ["2", 3, "declined", "its condition is NULL (unknown) fo"],
    ]);
  });
});
