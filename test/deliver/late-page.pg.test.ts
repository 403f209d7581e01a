import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startRelay, type Relay } from "../support/relay.ts";
import { startSystem, type System } from "../support/system.ts";

/** The question for a page of the queue. */
const PAGE = "with head as (";
let system: System;
let relay: Relay;
beforeEach(async () => {
  system = await startSystem("late_page");
  await system.app("create table orders (id int primary key, note text)");
  await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 s, 1 s, 1 s, 1 s}" });
  const direct = system.db.urlAs(system.roles.bridge);
  relay = await startRelay(direct);
  await system.startBridge({ databaseUrl: relay.url, replicationUrl: direct });
});
afterEach(async () => {
  await system.stopBridges();
  relay.close();
  await system.drop();
});

const outcomes = (where = "true") =>
  system.look(`select docname, outcome from walhook.webhook_request_log where ${where} order by sent_at`);
const queue = (where = "true") => system.look(`select docname from walhook.webhook_queue where ${where}`);

describe("a page of the queue that comes late", () => {
  it("is not sent where it was cancelled between question and answer, and what is queued later is still found", async () => {
    await system.admin("select walhook.pause('w')");
    await system.app("insert into orders values (1, 'cancelled')");
    await eventually(async () => (await queue()).length === 1);
    const held = relay.hold(PAGE, "answer");
    await system.admin("select walhook.resume('w')");
    await held.isCaught;
    await system.admin("select walhook.cancel('w')");
    await eventually(async () => (await outcomes("outcome = 'cancelled'")).length === 1);
    await system.caughtUp();
    held.release();
    let isDown = true;
    system.receiver.answer(() => ({ status: isDown ? 500 : 200 }));
    await system.app("insert into orders values (2, 'fails once')");
    await eventually(async () => (await queue("attempts = 1")).length === 1);
    isDown = false;
    await system.settled();
    expect(await outcomes()).toEqual([
      { docname: "1", outcome: "cancelled" },
      { docname: "2", outcome: "retry" },
      { docname: "2", outcome: "delivered" },
    ]);
  });

  it("does not send what came into this process' hands between question and answer", async () => {
    let isDown = true;
    system.receiver.answer(({ body }) => (body.includes("slow") ? { delayMs: 2_500 } : { status: isDown ? 500 : 200 }));
    const held = relay.hold(PAGE, "question");
    await system.app("insert into orders values (1, 'fails once')");
    await held.isCaught;
    isDown = false;
    await system.app("insert into orders values (2, 'slow')");
    // Its grace is over: it has a row, and its request is still under way.
    await eventually(async () => (await queue("docname = '2'")).length === 1);
    held.release();
    await system.settled();
    expect(await outcomes("docname = '2'")).toEqual([{ docname: "2", outcome: "delivered" }]);
    expect(await outcomes("docname = '1'")).toMatchObject([{ outcome: "retry" }, { outcome: "delivered" }]);
    expect(system.received("w").filter(({ body }) => body.includes("slow"))).toHaveLength(1);
  });
});
