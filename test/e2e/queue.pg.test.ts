import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startReceiver, type ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("queue");
  await system.app("create table orders (id bigint primary key, status text)");
});
afterEach(() => system.drop());

const retryScheduleMs = [50, 100, 200];
const AGAIN_AND_AGAIN = Array.from({ length: 200 }, () => 50);

const documentOf = (request: ReceivedRequest): string => JSON.parse(request.body.toString("utf8")).data.name;
const statusOf = (request: ReceivedRequest): string => JSON.parse(request.body.toString("utf8")).data.doc.status;
const idOf = (request: ReceivedRequest): string => request.headers["webhook-id"] as string;

const logOf = (webhook: string) =>
  system.look(
    `select delivery_id, docname, attempt, outcome, status_code from walhook.webhook_request_log
     where webhook = $1 order by delivery_id, attempt`,
    [webhook],
  );
const queue = () =>
  system.look(
    "select webhook, docname, is_dead, attempts, due_at, last_error from walhook.webhook_queue order by commit_lsn",
  );

describe("a delivery that fails", () => {
  it("is tried again with the same id and the same body; its document waits, others go on", async () => {
    await system.startBridge({ retryScheduleMs, graceMs: 100 });
    await system.webhook("hook", "orders", "after_insert, on_update");
    let refusals = 2;
    system.receiver.answer((request) => (documentOf(request) === "1" && refusals-- > 0 ? { status: 500 } : {}));
    await system.app("insert into orders values (1, 'a')");
    await system.app("update orders set status = 'b' where id = 1");
    await system.app("insert into orders values (2, 'a')");
    await eventually(() => system.received("hook").length >= 5);
    await system.settled();
    const requests = system.received("hook");
    const first = requests.filter((request) => documentOf(request) === "1");
    expect(first.map(statusOf)).toEqual(["a", "a", "a", "b"]);
    expect(new Set(first.slice(0, 3).map(idOf)).size).toBe(1);
    expect(new Set(first.slice(0, 3).map(({ body }) => body.toString("utf8"))).size).toBe(1);
    expect(requests.filter((request) => documentOf(request) === "2")).toHaveLength(1);
    const log = await logOf("hook");
    expect(log.filter(({ delivery_id }) => delivery_id === idOf(first[0]!))).toMatchObject([
      { attempt: 1, outcome: "retry", status_code: 500 },
      { attempt: 2, outcome: "retry", status_code: 500 },
      { attempt: 3, outcome: "delivered", status_code: 200 },
    ]);
    expect(log).toHaveLength(5);
    expect(await queue()).toEqual([]);
  });

  it("is dead after the schedule, stays to be seen, and lets its document go on", async () => {
    await system.startBridge({ retryScheduleMs, graceMs: 100 });
    await system.webhook("hook", "orders", "after_insert, on_update");
    system.receiver.answer((request) => (statusOf(request) === "a" ? { status: 500 } : {}));
    await system.app("insert into orders values (1, 'a')");
    await system.app("update orders set status = 'b' where id = 1");
    await eventually(() => system.received("hook").some((request) => statusOf(request) === "b"));
    await system.settled();
    expect(system.received("hook").map(statusOf)).toEqual(["a", "a", "a", "a", "b"]);
    expect(await queue()).toMatchObject([{ docname: "1", is_dead: true, attempts: 4 }]);
    expect((await logOf("hook")).map(({ outcome }) => outcome)).toEqual([
      "retry",
      "retry",
      "retry",
      "dead",
      "delivered",
    ]);
  });
});

describe("an endpoint that hangs", () => {
  it("delays no other webhook and does not hold the slot", async () => {
    await using hanging = await startReceiver();
    hanging.answer({ hang: true });
    await system.startBridge({ retryScheduleMs: AGAIN_AND_AGAIN, graceMs: 100 });
    await system.webhook("hangs", "orders", "after_insert", { request_url: `${hanging.url}/hangs`, timeout: "200 ms" });
    await system.webhook("answers", "orders", "after_insert");
    await system.app("insert into orders select n, '' from generate_series(1, 200) n");
    await eventually(() => system.received("answers").length === 200);
    await system.caughtUp();
    // What was under way when the grace was over is in the queue for a moment.
    await eventually(async () => (await queue()).every(({ webhook }) => webhook === "hangs"));
    expect(await logOf("hangs")).not.toContainEqual(expect.objectContaining({ outcome: "delivered" }));
    hanging.answer({});
    await system.settled(25_000);
    expect(new Set(hanging.requests.map(idOf)).size).toBe(200);
  });
});

describe("open deliveries", () => {
  it("are in the queue when a bridge stops, and the next one sends them in order", async () => {
    const first = await system.startBridge({ retryScheduleMs: AGAIN_AND_AGAIN, graceMs: 100 });
    await system.webhook("hook", "orders", "after_insert, on_update");
    system.receiver.answer({ status: 503 });
    await system.app("insert into orders values (1, '0'), (2, '0')");
    for (let n = 1; n <= 5; n++) await system.app("update orders set status = $1", [String(n)]);
    await eventually(async () => system.received("hook").length >= 2 && (await queue()).length === 12);
    await first.stop();
    expect(await queue()).toHaveLength(12);
    const before = system.received("hook").length;
    system.receiver.answer({});
    await system.startBridge({ retryScheduleMs: AGAIN_AND_AGAIN });
    await system.settled();
    const after = system.received("hook").slice(before);
    expect(after).toHaveLength(12);
    for (const id of ["1", "2"]) {
      expect(after.filter((request) => documentOf(request) === id).map(statusOf)).toEqual("012345".split(""));
    }
  });

  it("go to the mended URL", async () => {
    await system.startBridge({ retryScheduleMs: AGAIN_AND_AGAIN, graceMs: 50 });
    await system.webhook("hook", "orders", "after_insert", { request_url: "http://127.0.0.1:1/nobody" });
    await system.app("insert into orders select n, '' from generate_series(1, 20) n");
    await eventually(async () => (await queue()).length === 20);
    await system.admin("update walhook.webhook set request_url = $1", [`${system.receiver.url}/hook`]);
    await system.settled();
    expect(new Set(system.received("hook").map(documentOf)).size).toBe(20);
  });

  it("are held while their webhook is disabled, and sent once it is enabled", async () => {
    await system.startBridge({ retryScheduleMs: AGAIN_AND_AGAIN, graceMs: 50 });
    await system.webhook("hook", "orders", "after_insert");
    await system.webhook("other", "orders", "after_insert");
    system.receiver.answer(({ path }) => (path === "/hook" ? { status: 500 } : {}));
    await system.app("insert into orders values (1, '')");
    await eventually(async () => (await queue()).length === 1);
    await system.admin("update walhook.webhook set enabled = false where name = 'hook'");
    await system.caughtUp();
    system.receiver.answer({});
    const before = system.received("hook").length;
    // A second event is not matched; that it has passed shows that time has gone by.
    await system.app("insert into orders values (2, '')");
    await eventually(() => system.received("other").length === 2);
    await system.caughtUp();
    // An attempt that was under way when the webhook was disabled may still have ended.
    expect(system.received("hook").length).toBeLessThanOrEqual(before + 1);
    // Whose answer comes after the grace is in the queue for a moment.
    await eventually(async () => (await queue()).every(({ webhook }) => webhook === "hook"));
    expect(await queue()).toMatchObject([{ webhook: "hook", docname: "1" }]);
    await system.admin("update walhook.webhook set enabled = true where name = 'hook'");
    await system.settled();
    expect(new Set(system.received("hook").map(documentOf))).toEqual(new Set(["1"]));
  });

  it("are cancelled when their webhook is deleted, with a row in the log for each", async () => {
    await system.startBridge({ retryScheduleMs: AGAIN_AND_AGAIN, graceMs: 50 });
    await system.webhook("hook", "orders", "after_insert, on_update");
    system.receiver.answer({ status: 500 });
    await system.app("insert into orders values (1, ''), (2, '')");
    await system.app("update orders set status = 'b'");
    await eventually(async () => (await queue()).length === 4);
    await system.admin("delete from walhook.webhook");
    await system.settled();
    const cancelled = (await logOf("hook")).filter(({ outcome }) => outcome === "cancelled");
    expect(new Set(cancelled.map(({ delivery_id }) => delivery_id)).size).toBe(4);
    expect(cancelled).toHaveLength(4);
  });

  it("are held, visibly, while their author may not read the table, and sent when it may again", async () => {
    const { admin } = system.roles;
    await system.startBridge({ retryScheduleMs: AGAIN_AND_AGAIN, graceMs: 50 });
    await system.webhook("hook", "orders", "after_insert");
    await system.app("insert into orders values (1, '')");
    await eventually(() => system.received("hook").length === 1);
    await system.app(`revoke select on orders from "${admin}"`);
    const held = await eventually(async () => {
      const rows = await system.look("select state, last_error from walhook.webhook_state where state = 'held'");
      return rows[0];
    });
    expect(held["last_error"]).toMatch(/read|select/i);
    await system.app("insert into orders values (2, '')");
    await system.caughtUp();
    await eventually(async () => (await queue()).length === 1);
    expect(system.received("hook")).toHaveLength(1);
    await system.app(`grant select on orders to "${admin}"`);
    await system.settled();
    expect(system.received("hook").map(documentOf)).toEqual(["1", "2"]);
    await eventually(
      async () => (await system.look("select from walhook.webhook_state where state = 'ok'")).length === 1,
    );
  });
});
