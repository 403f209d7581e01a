import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("rate_limit");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const arrivals = (webhook: string): number[] => system.received(webhook).map(({ atMs }) => atMs);
/** The most that came within a second. */
const densest = (at: readonly number[]): number =>
  Math.max(...at.map((start) => at.filter((ms) => ms >= start && ms < start + 1_000).length));

describe("a webhook with a rate limit", () => {
  it("sends no more a second, costs no attempt, and holds up neither another webhook nor the cursor", async () => {
    await system.webhook("limited", "orders", "after_insert", { rate_limit: 20 });
    await system.webhook("free", "orders", "after_insert");
    await system.startBridge({ graceMs: 50 });
    await system.app("insert into orders select n from generate_series(1, 60) n");
    await eventually(() => system.received("free").length === 60);
    await system.caughtUp();
    expect(system.received("limited").length).toBeLessThan(60);
    await system.settled(20_000);
    const at = arrivals("limited");
    expect(at).toHaveLength(60);
    // A tenth of a second's may have been saved up, and the clocks of sender and receiver differ by some ms.
    expect(densest(at)).toBeLessThanOrEqual(24);
    // 58 after the first two at 20 a second, and what fetching them from the queue costs.
    expect(at.at(-1)! - at[0]!).toBeGreaterThan(2_600);
    expect(at.at(-1)! - at[0]!).toBeLessThan(8_000);
    expect(
      await system.look(
        "select outcome, attempt, count(*)::int from walhook.webhook_request_log where webhook = 'limited' group by 1, 2",
      ),
    ).toEqual([{ outcome: "delivered", attempt: 1, count: 60 }]);
  });

  it("keeps a document's order", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { rate_limit: 50 });
    await system.startBridge({ graceMs: 20 });
    await system.app("insert into orders select n, '0' from generate_series(1, 5) n");
    for (let step = 1; step <= 6; step++) await system.app("update orders set note = $1", [String(step)]);
    await system.settled(20_000);
    const notes = new Map<string, string[]>();
    for (const { body } of system.received("w")) {
      const { data } = JSON.parse(body.toString()) as { data: { name: string; doc: { note: string } } };
      notes.set(data.name, [...(notes.get(data.name) ?? []), data.doc.note]);
    }
    expect([...notes.values()]).toEqual(Array.from({ length: 5 }, () => ["0", "1", "2", "3", "4", "5", "6"]));
  });

  it("counts a batch as one request", async () => {
    await system.webhook("w", "orders", "after_insert", { rate_limit: 5, batch_size: 100 });
    await system.startBridge();
    await system.app("insert into orders select n from generate_series(1, 300) n");
    await system.settled(20_000);
    const sizes = system.received("w").map(({ body }) => (JSON.parse(body.toString()) as unknown[]).length);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(300);
    expect(densest(arrivals("w"))).toBeLessThanOrEqual(7);
  });

  it("is faster at once when the limit is raised", async () => {
    await system.webhook("w", "orders", "after_insert", { rate_limit: 0.01 });
    await system.startBridge({ graceMs: 20 });
    await system.app("insert into orders select n from generate_series(1, 20) n");
    await eventually(() => system.received("w").length === 1);
    await system.caughtUp();
    await system.admin("update walhook.webhook set rate_limit = null");
    await system.settled();
    expect(system.received("w")).toHaveLength(20);
  });

  it.each(["0", "-1", "100001", "'NaN'"])("may not have the limit %s", async (limit) => {
    await system.webhook("w", "orders", "after_insert");
    await expect(system.admin(`update walhook.webhook set rate_limit = ${limit}`)).rejects.toMatchObject({
      message: expect.stringContaining("rate_limit is "),
      hint: expect.stringContaining("0.001"),
    });
  });
});
