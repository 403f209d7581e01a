import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("retries");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const FAST = { retryScheduleMs: [50, 100, 200] };
const note = ({ body }: ReceivedRequest): string =>
  (JSON.parse(body.toString()) as { data: { doc: { note: string } } }).data.doc.note;
const outcomes = async (webhook: string) =>
  (
    await system.look("select outcome from walhook.webhook_request_log where webhook = $1 order by sent_at", [webhook])
  ).map((row) => row["outcome"]);

describe("a delivery that fails", () => {
  it("is tried again with the same id and bytes, before the later ones of its document and without holding up others", async () => {
    await system.webhook("w", "orders", "after_insert, on_update");
    let failures = 3;
    system.receiver.answer((request) => (note(request).startsWith("a") && failures-- > 0 ? { status: 500 } : {}));
    await system.startBridge(FAST);
    await system.app("insert into orders values (1, 'a1'), (2, 'b1')");
    await system.app("update orders set note = 'a2' where id = 1");
    await system.app("update orders set note = 'a3' where id = 1");
    await system.settled();
    const received = system.received("w");
    expect(received.map(note).filter((n) => n.startsWith("a"))).toEqual(["a1", "a1", "a1", "a1", "a2", "a3"]);
    expect(new Set(received.filter((r) => note(r) === "a1").map((r) => r.headers["webhook-id"])).size).toBe(1);
    expect(new Set(received.filter((r) => note(r) === "a1").map((r) => r.body.toString())).size).toBe(1);
    const log = await system.look(
      "select outcome, attempt, status_code from walhook.webhook_request_log where docname = '1' order by sent_at",
    );
    expect(log.slice(0, 4)).toMatchObject([
      { outcome: "retry", attempt: 1, status_code: 500 },
      { outcome: "retry", attempt: 2 },
      { outcome: "retry", attempt: 3 },
      { outcome: "delivered", attempt: 4, status_code: 200 },
    ]);
  });

  it("is a dead letter after its schedule: kept in the queue, logged, and in nobody's way", async () => {
    await system.webhook("w", "orders", "after_insert, on_update");
    system.receiver.answer((request) => (note(request) === "a1" ? { status: 503 } : {}));
    await system.startBridge(FAST);
    await system.app("insert into orders values (1, 'a1')");
    await system.app("update orders set note = 'a2' where id = 1");
    await eventually(() => system.received("w").some((request) => note(request) === "a2"));
    await system.settled();
    expect(await outcomes("w")).toEqual(["retry", "retry", "retry", "dead", "delivered"]);
    expect(await system.look("select is_dead, attempts, last_error from walhook.webhook_queue")).toEqual([
      { is_dead: true, attempts: 4, last_error: "HTTP 503" },
    ]);
  });

  it("holds neither another webhook nor the slot, though its endpoint never answers", async () => {
    await system.webhook("dead", "orders", "after_insert", { timeout: "10 s" });
    await system.webhook("live", "orders", "after_insert");
    system.receiver.answer(({ path }) => (path === "/dead" ? { hang: true } : {}));
    await system.startBridge({ ...FAST, graceMs: 100, concurrencyPerWebhook: 5 });
    await system.app("insert into orders select n, 'n' from generate_series(1, 300) n");
    await eventually(() => system.received("live").length === 300);
    await system.caughtUp();
    // What was under way when the grace was over is in the queue for a moment.
    const waiting = () => system.look("select webhook, count(*)::int as n from walhook.webhook_queue group by 1");
    await eventually(async () => (await waiting()).length === 1);
    expect(await waiting()).toEqual([{ webhook: "dead", n: 300 }]);
  });

  it("goes on in the next bridge, in order", async () => {
    await system.webhook("w", "orders", "after_insert, on_update");
    system.receiver.answer({ status: 500 });
    const first = await system.startBridge({ retryScheduleMs: [300, 300, 300, 300] });
    await system.app("insert into orders values (1, 'a1'), (2, 'b1')");
    await system.app("update orders set note = 'a2' where id = 1");
    await eventually(() => system.receiver.requests.length >= 2);
    await first.stop();
    system.receiver.answer({});
    const before = system.receiver.requests.length;
    await system.startBridge(FAST);
    await system.settled();
    const notes = system.receiver.requests.slice(before).map(note);
    expect(notes.filter((n) => n.startsWith("a"))).toEqual(["a1", "a2"]);
    expect(notes).toContain("b1");
  });
});

describe("the configuration now in force decides about open deliveries", () => {
  it("a mended URL drains the queue", async () => {
    await system.webhook("w", "orders", "after_insert", { request_url: "http://127.0.0.1:1/" });
    await system.startBridge({
      retryScheduleMs: [100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100],
    });
    await system.app("insert into orders values (1, 'a')");
    await eventually(async () => (await outcomes("w")).includes("retry"));
    await system.admin("update walhook.webhook set request_url = $1 where name = 'w'", [`${system.receiver.url}/w`]);
    await eventually(() => system.received("w").length === 1);
  });

  it("a disabled webhook's deliveries are held, and go when it is enabled again", async () => {
    await system.webhook("w", "orders", "after_insert");
    system.receiver.answer({ status: 500 });
    await system.startBridge(FAST);
    await system.app("insert into orders values (1, 'a')");
    await eventually(async () => (await outcomes("w")).length > 0);
    await system.admin("update walhook.webhook set enabled = false where name = 'w'");
    await system.caughtUp();
    system.receiver.answer({});
    const before = system.receiver.requests.length;
    await system.app("insert into orders values (2, 'not matched')");
    await system.caughtUp();
    expect((await system.look("select from walhook.webhook_queue")).length).toBe(1);
    expect(system.receiver.requests.length).toBe(before);
    await system.admin("update walhook.webhook set enabled = true where name = 'w'");
    await system.settled();
    expect(system.receiver.requests.slice(before).map(note)).toEqual(["a"]);
  });

  it("a deleted webhook's deliveries are cancelled, with one log row each", async () => {
    await system.webhook("w", "orders", "after_insert");
    system.receiver.answer({ status: 500 });
    await system.startBridge({ retryScheduleMs: [60_000] });
    await system.app("insert into orders values (1, 'a'), (2, 'b')");
    await eventually(async () => (await outcomes("w")).length === 2);
    await system.admin("update walhook.webhook set enabled = false where name = 'w'");
    await system.look("update walhook.webhook_queue set due_at = now() - interval '1 s'");
    await system.admin("delete from walhook.webhook where name = 'w'");
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 0);
    expect(await outcomes("w")).toEqual(["retry", "retry", "cancelled", "cancelled"]);
  });

  it("a webhook whose author may no longer read the table is held visibly, and loses nothing", async () => {
    await system.webhook("w", "orders", "after_insert");
    await system.startBridge(FAST);
    await system.app(`revoke select on orders from "${system.roles.admin}"`);
    const state = async () =>
      (await system.look("select state from walhook.webhook_state where name = 'w'"))[0]?.["state"];
    await eventually(async () => (await state()) === "held");
    await system.app("insert into orders values (1, 'a')");
    await system.caughtUp();
    expect(system.received("w")).toEqual([]);
    expect(await system.look("select kind from walhook.webhook_queue")).toEqual([{ kind: "undecided" }]);
    await system.app(`grant select on orders to "${system.roles.admin}"`);
    await system.settled();
    expect(system.received("w").map(note)).toEqual(["a"]);
    await eventually(async () => (await state()) === "ok");
  });

  it("a webhook that is held when the bridge starts is held from the start", async () => {
    await system.webhook("w", "orders", "after_insert");
    await system.app(`revoke select on orders from "${system.roles.admin}"`);
    await system.app("insert into orders values (1, 'a')");
    await system.startBridge(FAST);
    await system.caughtUp();
    expect(system.received("w")).toEqual([]);
    await system.app(`grant select on orders to "${system.roles.admin}"`);
    await system.settled();
    expect(system.received("w").map(note)).toEqual(["a"]);
  });
});
