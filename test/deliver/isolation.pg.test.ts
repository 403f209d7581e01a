import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("isolation");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const queued = async (webhook: string): Promise<number> => {
  const [row] = await system.look("select count(*)::int as n from walhook.webhook_queue where webhook = $1", [webhook]);
  return row?.["n"] as number;
};

describe("the long queue of one webhook", () => {
  it("is not in the way of another's: both are due, and the other's goes out", async () => {
    await system.webhook("hanging", "orders", "after_insert", { timeout: "60 s" });
    await system.webhook("mended", "orders", "after_insert", { retry_schedule: "{200 ms, 200 ms, 200 ms, 200 ms}" });
    let isBroken = true;
    system.receiver.answer(({ path }) => (path === "/hanging" ? { hang: true } : { status: isBroken ? 500 : 200 }));
    await system.startBridge({ graceMs: 50 });
    await system.app("insert into orders select n from generate_series(1, 3000) n");
    await eventually(async () => (await queued("hanging")) === 3000 && (await queued("mended")) === 3000);
    isBroken = false;
    await eventually(async () => (await queued("mended")) === 0, { withinMs: 20_000 });
    expect(await queued("hanging")).toBe(3000);
    // A receiver that does not answer gets no more than it may have open at once.
    expect(system.received("hanging").length).toBeLessThanOrEqual(50);
  });

  it("drains in order when its receiver returns, dead letters that hold their document included", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", {
      // The breaker lets one request through each 20 ms: a document's second one comes when all have had their first.
      retry_schedule: "{20 ms}",
      on_exhausted: "hold",
    });
    let isDown = true;
    system.receiver.answer(() => (isDown ? { status: 503 } : { delayMs: 20 }));
    await system.startBridge({ graceMs: 50, concurrencyPerWebhook: 8 });
    await system.app("insert into orders select n, 'first' from generate_series(1, 60) n");
    await system.app("update orders set note = 'second'");
    await eventually(async () => (await queued("w")) === 120);
    await eventually(async () => (await system.look("select from walhook.dead_letter")).length >= 1);
    isDown = false;
    const before = system.receiver.requests.length;
    await eventually(
      async () =>
        (await system.look("select from walhook.webhook_queue where not is_dead and due_at is not null")).length === 0,
    );
    await system.admin("select walhook.replay_dead_letters('w')");
    await system.settled(20_000);
    const notes = new Map<string, string[]>();
    for (const { body } of system.receiver.requests.slice(before)) {
      const { data } = JSON.parse(body.toString()) as { data: { name: string; doc: { note: string } } };
      notes.set(data.name, [...(notes.get(data.name) ?? []), data.doc.note]);
    }
    expect(notes.size).toBe(60);
    for (const seen of notes.values()) expect(seen).toEqual(["first", "second"]);
  });
});

describe("a condition that never answers in time", () => {
  it("keeps only its own webhook's deliveries back, live and queued, and is shown", async () => {
    await system.webhook("slow", "orders", "after_insert", { condition: "(select pg_sleep(30) is not null)" });
    await system.webhook("also", "orders", "after_insert", { condition: "doc.id > 0" });
    await system.webhook("plain", "orders", "after_insert");
    await system.startBridge({ conditionTimeoutMs: 100 });
    await system.app("insert into orders select n from generate_series(1, 200) n");
    for (let id = 201; id <= 220; id++) await system.app("insert into orders values ($1)", [id]);
    await eventually(() => system.received("also").length === 220 && system.received("plain").length === 220);
    await system.caughtUp();
    expect(await queued("slow")).toBe(220);
    await eventually(
      async () =>
        (await system.look("select from walhook.webhook_state where name = 'slow' and state = 'undecided'")).length ===
        1,
      { withinMs: 15_000 },
    );
    await system.admin("update walhook.webhook set condition = null where name = 'slow'");
    await eventually(() => system.received("slow").length === 220);
    await eventually(
      async () =>
        (await system.look("select from walhook.webhook_state where name = 'slow' and state = 'ok'")).length === 1,
    );
  });
});

describe("a condition that speaks as if the server were gone", () => {
  it("is the only one that fails: the session of the bridge goes on, and so do the other webhooks", async () => {
    await system.db.query(`grant create on schema public to "${system.roles.admin}";
      grant pg_signal_backend to "${system.roles.admin}"`);
    await system.admin(`create function public.raises(code text) returns boolean language plpgsql as $$
      begin raise exception 'of its own' using errcode = code; end $$`);
    await system.webhook("down", "orders", "after_insert", {
      condition: "case when doc.id % 2 = 0 then raises('57P01') else true end",
    });
    await system.webhook("ends", "orders", "after_insert", {
      condition: "pg_terminate_backend(pg_backend_pid()) and pg_sleep(1) is not null",
    });
    await system.webhook("plain", "orders", "after_insert");
    await system.startBridge({ conditionTimeoutMs: 2000 });
    const epochs = "select epoch from walhook.bridge";
    const before = await system.look(epochs);
    for (const id of [1, 2, 3, 4]) await system.app("insert into orders values ($1)", [id]);
    await eventually(() => system.received("plain").length === 4 && system.received("down").length === 2);
    const log = (): ReturnType<System["look"]> =>
      system.look(
        "select docname, outcome, error from walhook.webhook_request_log where webhook = 'down' and outcome <> 'delivered' order by 1",
      );
    await eventually(async () => (await log()).length === 2 && (await queued("ends")) === 4);
    const error = "the condition raised an error: of its own (57P01)";
    expect(await log()).toEqual([
      { docname: "2", outcome: "error", error },
      { docname: "4", outcome: "error", error },
    ]);
    expect(await system.look("select distinct last_error from walhook.webhook_queue where webhook = 'ends'")).toEqual([
      { last_error: expect.stringContaining("the condition ends the connection on which it is asked") },
    ]);
    expect(await system.look(epochs)).toEqual(before);
  });
});
