import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Bridge } from "../../src/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let bridge: Bridge;
beforeEach(async () => {
  system = await startSystem("cancel_forgotten");
  await system.app("create table orders (id int primary key, note text)");
  await system.webhook("w", "orders", "after_insert, on_update", { timeout: "60 s" });
  system.receiver.answer({ hang: true });
  bridge = await system.startBridge({ graceMs: 50, drainMs: 50 });
  await system.app("insert into orders values (1)");
  await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 1);
});
afterEach(() => system.drop());

const log = () => system.look("select docname, outcome, error from walhook.webhook_request_log order by sent_at");

describe("a request that is under way when its bridge ends", () => {
  it("of a webhook that was deleted is cancelled by the next bridge", async () => {
    await system.admin("delete from walhook.webhook where name = 'w'");
    await system.caughtUp();
    await bridge.stop();
    expect(await system.look("select from walhook.webhook_queue")).toHaveLength(1);
    await system.startBridge();
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 0);
    expect(await log()).toEqual([
      { docname: "1", outcome: "cancelled", error: "the webhook was deleted before this delivery could be made" },
    ]);
  });

  it("and that somebody has cancelled is not sent again, and its document goes on", async () => {
    await system.admin("select walhook.cancel('w')");
    await system.caughtUp();
    await system.app("update orders set note = 'next'");
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 2);
    await bridge.stop();
    system.receiver.answer({});
    await system.startBridge();
    await system.settled();
    expect(await log()).toMatchObject([
      { docname: "1", outcome: "cancelled", error: `${system.roles.admin} cancelled it` },
      { docname: "1", outcome: "delivered" },
    ]);
    expect(
      system.received("w").map(({ body }) => (JSON.parse(body.toString()) as { data: { event: string } }).data.event),
    ).toEqual(["after_insert", "on_update"]);
  });
});
