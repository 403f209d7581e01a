import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("exhausted");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const note = ({ body }: ReceivedRequest): string =>
  (JSON.parse(body.toString()) as { data: { doc: { note: string } } }).data.doc.note;
const notes = (): string[] => system.received("w").map(note);
const outcomes = async (): Promise<unknown[]> =>
  (await system.look("select outcome from walhook.webhook_request_log order by sent_at")).map((row) => row["outcome"]);
const deadLetters = () =>
  system.admin("select docname, attempts, holds_lane from walhook.dead_letter order by docname");
/** a1 fails for good; everything else is taken. */
const refuseA1 = (): void => system.receiver.answer((request) => (note(request) === "a1" ? { status: 500 } : {}));

describe("a webhook's own retry schedule", () => {
  it("decides how often and when its deliveries are tried", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{100 ms, 300 ms}" });
    refuseA1();
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1')");
    await eventually(async () => (await deadLetters()).length === 1);
    const [first, second, third] = system.received("w").map(({ atMs }) => atMs);
    expect(notes()).toEqual(["a1", "a1", "a1"]);
    expect(second! - first!).toBeGreaterThanOrEqual(100);
    expect(third! - second!).toBeGreaterThanOrEqual(300);
    expect(await outcomes()).toEqual(["retry", "retry", "dead"]);
  });

  it("may be empty: one attempt", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{}" });
    refuseA1();
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1')");
    await eventually(async () => (await deadLetters()).length === 1);
    expect(await outcomes()).toEqual(["dead"]);
  });

  it("that is changed acts on deliveries that wait already", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{100 ms, 1 d}" });
    refuseA1();
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1')");
    await eventually(() => system.received("w").length === 1);
    await system.admin("update walhook.webhook set retry_schedule = '{100 ms}'");
    await eventually(async () => (await outcomes()).includes("dead"));
    expect(notes()).toEqual(["a1", "a1"]);
  });
});

describe("when the last attempt of a delivery has failed", () => {
  it("the next one of its document goes on, where the webhook does not say otherwise", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{}" });
    refuseA1();
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1'); update orders set note = 'a2'");
    await system.settled();
    expect(notes()).toEqual(["a1", "a2"]);
    expect(await deadLetters()).toEqual([{ docname: "1", attempts: 1, holds_lane: false }]);
  });

  it("its document's deliveries wait, where the webhook says hold; other documents go on; over restarts, too", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{}", on_exhausted: "hold" });
    refuseA1();
    const first = await system.startBridge();
    await system.app("insert into orders values (1, 'a1'), (2, 'b1'); update orders set note = 'a2' where id = 1");
    await eventually(async () => (await deadLetters()).length === 1);
    await system.app("update orders set note = 'a3' where id = 1; update orders set note = 'b2' where id = 2");
    await eventually(() => notes().includes("b2"));
    await system.caughtUp();
    await first.stop();
    await system.startBridge();
    await system.app("update orders set note = 'a4' where id = 1; update orders set note = 'b3' where id = 2");
    await eventually(() => notes().includes("b3"));
    await system.caughtUp();
    expect(notes().filter((n) => n.startsWith("a"))).toEqual(["a1"]);
    expect(await deadLetters()).toEqual([{ docname: "1", attempts: 1, holds_lane: true }]);
    expect(await system.look("select count(*)::int as n from walhook.webhook_queue where due_at is null")).toEqual([
      { n: 4 },
    ]);
  });

  it("a held document goes on, in order, when its dead letter is replayed: same id, same bytes", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{}", on_exhausted: "hold" });
    refuseA1();
    await system.startBridge();
    await system.app(
      "insert into orders values (1, 'a1'); update orders set note = 'a2'; update orders set note = 'a3'",
    );
    await eventually(async () => (await deadLetters()).length === 1);
    system.receiver.answer({});
    expect(await system.admin("select walhook.replay_dead_letters('w') as n")).toEqual([{ n: "1" }]);
    await system.settled();
    expect(notes()).toEqual(["a1", "a1", "a2", "a3"]);
    const [one, two] = system.received("w");
    expect(two!.headers["webhook-id"]).toBe(one!.headers["webhook-id"]);
    expect(two!.body.equals(one!.body)).toBe(true);
    expect(await outcomes()).toEqual(["dead", "delivered", "delivered", "delivered"]);
    expect(await system.look("select kind, requested_by::text from walhook.repair")).toEqual([
      { kind: "replay", requested_by: system.roles.admin },
    ]);
    // Nothing is left behind that would keep later events of the document from going straight out.
    await system.app("update orders set note = 'a4'");
    await eventually(() => notes().at(-1) === "a4");
  });

  it("a held document goes on when its dead letter is cancelled, which the log says", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{}", on_exhausted: "hold" });
    refuseA1();
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1'), (2, 'a1'); update orders set note = 'a2'");
    await eventually(async () => (await deadLetters()).length === 2);
    expect(await system.admin("select walhook.cancel_dead_letters('w', docname => '1') as n")).toEqual([{ n: "1" }]);
    await eventually(() => notes().includes("a2"));
    await system.caughtUp();
    expect(notes()).toEqual(["a1", "a1", "a2"]);
    expect(await deadLetters()).toEqual([{ docname: "2", attempts: 1, holds_lane: true }]);
    expect(
      await system.look("select docname, error from walhook.webhook_request_log where outcome = 'cancelled'"),
    ).toEqual([{ docname: "1", error: `${system.roles.admin} cancelled this dead letter` }]);
  });

  it("what is held goes on when the webhook does not say hold any more", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{}", on_exhausted: "hold" });
    refuseA1();
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1'); update orders set note = 'a2'");
    await eventually(async () => (await deadLetters()).length === 1);
    await system.admin("update walhook.webhook set on_exhausted = 'continue'");
    await system.settled();
    expect(notes()).toEqual(["a1", "a2"]);
  });

  it("dead letters can be replayed one by one, and those of a bridge that is down act when it starts", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{}" });
    refuseA1();
    const first = await system.startBridge();
    await system.app("insert into orders values (1, 'a1'), (2, 'a1')");
    await eventually(async () => (await deadLetters()).length === 2);
    await first.stop();
    system.receiver.answer({});
    const [{ delivery_id: id } = {}] = await system.admin(
      "select delivery_id from walhook.dead_letter where docname = '2'",
    );
    expect(await system.admin("select walhook.replay_dead_letters('w', delivery_id => $1) as n", [id])).toEqual([
      { n: "1" },
    ]);
    await system.startBridge();
    await eventually(() => system.received("w").length === 3);
    await system.caughtUp();
    expect(system.received("w").at(-1)?.headers["webhook-id"]).toBe(id);
    expect(await deadLetters()).toEqual([{ docname: "1", attempts: 1, holds_lane: false }]);
  });
});

describe("a receiver that says", () => {
  it("410 Gone has its webhook disabled, visibly; its deliveries wait, and go when it is enabled again", async () => {
    await system.webhook("w", "orders", "after_insert");
    system.receiver.answer({ status: 410 });
    await system.startBridge();
    await system.app("insert into orders select n, 'a' || n from generate_series(1, 200) n");
    const state = async () => (await system.look("select state, last_error from walhook.webhook_state"))[0];
    await eventually(async () => (await state())?.["state"] === "disabled");
    expect((await state())?.["last_error"]).toMatch(
      /^HTTP 410: .*To go on: update walhook\.webhook set enabled = true where id = \d+/,
    );
    expect(await system.look("select enabled, author::text from walhook.webhook")).toEqual([
      { enabled: false, author: system.roles.admin },
    ]);
    // Those under way, and not one more.
    expect(system.received("w").length).toBeLessThanOrEqual(50);
    await system.app("insert into orders values (1000, 'not matched')");
    await system.caughtUp();
    system.receiver.answer({});
    const before = system.received("w").length;
    await system.admin("update walhook.webhook set enabled = true");
    await system.settled();
    expect(new Set(system.received("w").slice(before).map(note)).size).toBe(200);
    await eventually(async () => (await state())?.["state"] === "ok");
  });

  it("429 with Retry-After gets nothing at all until then", async () => {
    await system.webhook("w", "orders", "after_insert", {
      retry_schedule: "{10 ms, 10 ms, 10 ms, 10 ms, 10 ms, 10 ms}",
    });
    let isOverloaded = true;
    system.receiver.answer(() => (isOverloaded ? { status: 429, headers: { "retry-after": "1" } } : {}));
    await system.startBridge();
    await system.app("insert into orders values (0, 'first')");
    await eventually(async () => (await outcomes()).includes("retry"));
    isOverloaded = false;
    await system.app("insert into orders select n, 'a' || n from generate_series(1, 100) n");
    await system.settled();
    const [first, ...others] = system.received("w").map(({ atMs }) => atMs);
    expect(others.length).toBe(101);
    // The receiver notes the arrival, the second runs from the answer.
    expect(Math.min(...others) - first!).toBeGreaterThanOrEqual(1_000);
  });
});

describe("a webhook without ordering", () => {
  it("sends each delivery by itself: one that fails holds up no other of its document", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { ordering: false, retry_schedule: "{1 h}" });
    refuseA1();
    await system.startBridge({ graceMs: 50 });
    await system.app("insert into orders values (1, 'a1')");
    await eventually(() => notes().length === 1);
    await system.app("update orders set note = 'a2'; update orders set note = 'a3'");
    await eventually(() => notes().length === 3);
    await system.caughtUp();
    expect(notes().toSorted()).toEqual(["a1", "a2", "a3"]);
    // Whose answer comes after the grace is in the queue for a moment.
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 1);
    expect(await system.look("select is_ordered, attempts from walhook.webhook_queue")).toEqual([
      { is_ordered: false, attempts: 1 },
    ]);
  });
});
