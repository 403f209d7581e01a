import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("breaker");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const EVERY_2_S = "{2 s, 2 s, 2 s, 2 s, 2 s, 2 s, 2 s, 2 s}";
const ONE_AT_A_TIME = { concurrencyPerWebhook: 1, graceMs: 50 };
const insert = (from: number, to: number) =>
  system.app(`insert into orders select n, 'note' from generate_series(${from}, ${to}) n`);
const arrivals = (): number[] => system.received("w").map(({ atMs }) => atMs);
const state = async () =>
  (
    await system.look(
      `select health, breaker, breaker_openings, consecutive_failures, last_failure, first_failure_at is null as is_well,
         last_delivered_at is null as is_new, extract(epoch from breaker_until - breaker_opened_at)::float8 as open_s
       from walhook.webhook_state where name = 'w'`,
    )
  )[0] ?? {};
const attempts = async () =>
  await system.look(
    "select attempts, count(*)::int as n from walhook.webhook_queue where not is_dead group by 1 order by 1",
  );

describe("a receiver that fails five times in a row", () => {
  it("gets nothing until its next retry would be due, and no attempt is spent; then one probe at a time; then everything", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: EVERY_2_S });
    system.receiver.answer({ status: 500 });
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 20);
    await eventually(async () => (await state())["breaker"] === "open");
    expect(await state()).toMatchObject({
      health: "opened",
      breaker_openings: 1,
      consecutive_failures: 5,
      last_failure: "HTTP 500",
      is_well: false,
      is_new: true,
      open_s: 2,
    });
    // The fifth comes into the queue with a checkpoint of its own; probes after it spend an attempt of these five.
    const tried = async (): Promise<number> =>
      (await attempts()).reduce((sum, row) => sum + (row["attempts"] === 0 ? 0 : Number(row["n"])), 0);
    await eventually(async () => (await tried()) === 5);
    expect((await attempts())[0]).toEqual({ attempts: 0, n: 15 });
    await eventually(() => arrivals().length === 7);
    const [, , , , fifth, sixth, seventh] = arrivals();
    expect(sixth! - fifth!).toBeGreaterThanOrEqual(1_950);
    // Twice as long would be longer than the longest of its schedule.
    expect(seventh! - sixth!).toBeGreaterThanOrEqual(1_950);
    expect(seventh! - sixth!).toBeLessThan(3_500);
    system.receiver.answer({});
    await system.settled();
    await eventually(async () => (await state())["health"] === "ok");
    expect(await state()).toMatchObject({
      breaker: "closed",
      breaker_openings: 0,
      consecutive_failures: 0,
      is_well: true,
      is_new: false,
      open_s: null,
    });
  });

  it("is met by one request when it returns, then by two, then by four", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: EVERY_2_S });
    let isDown = true;
    let [underway, answers] = [0, 0];
    const seen: [underway: number, answers: number][] = [];
    system.receiver.answer(() => {
      // It is back when the first probe comes: what was under way as the breaker opened may arrive much later.
      const [last = 0, now = 0] = arrivals().slice(-2);
      isDown &&= now - last < 1_500;
      if (isDown) return { status: 503 };
      seen.push([++underway, answers]);
      setTimeout(() => {
        underway--;
        answers++;
      }, 40);
      return { delayMs: 40 };
    });
    await system.startBridge({ graceMs: 50 });
    await insert(1, 200);
    await system.settled();
    expect(seen.slice(0, 2).map(([open]) => open)).toEqual([1, 1]);
    // What is answered is seen here a moment before it is there.
    for (const [open, done] of seen) expect(open).toBeLessThanOrEqual(2 ** (done + 1));
    expect(Math.max(...seen.map(([open]) => open))).toBeGreaterThan(8);
  });

  it("is sent everything at once when its webhook is changed", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 h, 1 h}" });
    system.receiver.answer({ reset: true });
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 6);
    await eventually(async () => (await state())["breaker"] === "open");
    expect(await state()).toMatchObject({ open_s: 30 });
    system.receiver.answer({});
    await system.admin("update walhook.webhook set request_url = request_url where name = 'w'");
    await eventually(() => arrivals().length === 6);
    await eventually(async () => (await state())["health"] === "ok");
  });
});

describe("a receiver that fails every other time", () => {
  it("opens the breaker after ten attempts", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 min, 1 min}" });
    let count = 0;
    system.receiver.answer(() => ({ status: count++ % 2 === 0 ? 500 : 200 }));
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 30);
    await eventually(async () => (await state())["breaker"] === "open");
    expect(arrivals().length).toBe(11);
    expect(await state()).toMatchObject({ health: "opened", open_s: 30 });
  });
});

describe("a receiver that refuses what it gets", () => {
  it("is failing, and its breaker stays closed", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 h}" });
    system.receiver.answer({ status: 404 });
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 20);
    await eventually(async () => (await state())["health"] === "failing");
    await eventually(() => arrivals().length === 20);
    expect(await state()).toMatchObject({ breaker: "closed" });
  });
});

describe("an open breaker", () => {
  it("is open in the next bridge too, and no longer than it would have been", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: EVERY_2_S });
    system.receiver.answer({ status: 500 });
    const first = await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 10);
    await eventually(async () => (await state())["breaker"] === "open");
    await first.stop();
    expect(await state()).toMatchObject({ breaker: "open", consecutive_failures: 5 });
    system.receiver.answer({});
    await system.startBridge(ONE_AT_A_TIME);
    await system.settled();
    const [, , , , fifth, sixth] = arrivals();
    expect(sixth! - fifth!).toBeGreaterThanOrEqual(1_950);
    expect(sixth! - fifth!).toBeLessThan(6_000);
    expect(arrivals().length).toBe(15);
  });

  it("of one webhook holds up no other, and not the cursor", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 h}" });
    await system.webhook("live", "orders", "after_insert");
    system.receiver.answer(({ path }) => (path === "/w" ? { status: 500 } : {}));
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 50);
    await eventually(async () => (await state())["breaker"] === "open");
    await insert(51, 300);
    await eventually(() => system.received("live").length === 300);
    await system.caughtUp();
    expect(arrivals().length).toBe(5);
  });
});

describe("a webhook without a success for days", () => {
  const grownOld = () =>
    system.look(
      "update walhook.webhook_state set first_failure_at = now() - interval '6 days', consecutive_failures = 40 where name = 'w'",
    );
  const isEnabled = async () =>
    (await system.look("select enabled from walhook.webhook where name = 'w'"))[0]?.["enabled"];

  it("is disabled at the next failure, which says why and since when; enabled again, it sends what waited", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 h}" });
    system.receiver.answer({ status: 500 });
    const first = await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 2);
    await eventually(() => arrivals().length === 2);
    await first.stop();
    await grownOld();
    const second = await system.startBridge(ONE_AT_A_TIME);
    await system.caughtUp();
    expect(await isEnabled()).toBe(true);
    await insert(3, 4);
    await eventually(async () => (await isEnabled()) === false);
    const [row] = await system.look("select state, health, last_error from walhook.webhook_state where name = 'w'");
    expect(row).toMatchObject({ state: "disabled", health: "disabled" });
    expect(row?.["last_error"]).toMatch(
      /^none of its 41 attempts since \d{4}-\d\d-\d\dT[\d:.]+Z has succeeded, the last one: HTTP 500\. To go on: update walhook\.webhook/,
    );
    await second.stop();
    expect(arrivals().length).toBe(3);
    system.receiver.answer({});
    await system.startBridge(ONE_AT_A_TIME);
    await system.admin("update walhook.webhook set enabled = true");
    await system.look("update walhook.webhook_queue set due_at = now() where due_at is not null");
    await system.settled();
    await eventually(async () => (await state())["is_new"] === false);
    expect(await state()).toMatchObject({ health: "ok", consecutive_failures: 0, is_well: true });
  });

  it("goes on where disable_after says never", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 h}", disable_after: null });
    system.receiver.answer({ status: 500 });
    const first = await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 1);
    await eventually(() => arrivals().length === 1);
    await first.stop();
    await grownOld();
    await system.startBridge(ONE_AT_A_TIME);
    await insert(2, 2);
    await eventually(async () => (await state())["consecutive_failures"] === 41);
    expect(await isEnabled()).toBe(true);
  });

  it.each(["59 min", "366 days"])("may not be disabled after %s", async (after) => {
    await expect(system.webhook("w", "orders", "after_insert", { disable_after: after })).rejects.toMatchObject({
      hint: "It is between 1 hour and 365 days; NULL: never.",
    });
  });
});
