import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let answer: () => void;
/** Requests fail, and not before `answer` is called. */
beforeEach(async () => {
  system = await startSystem("last_attempt");
  await system.app("create table orders (id int primary key, note text)");
  const until = new Promise<void>((resolve) => (answer = resolve));
  system.receiver.answer({ status: 500, until });
});
afterEach(() => system.drop());

describe("what is changed while the last attempt of a delivery is under way", () => {
  it("a deleted webhook leaves no dead letter that nobody could take out any more", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{}" });
    await system.startBridge();
    await system.app("insert into orders values (1)");
    await eventually(() => system.received("w").length === 1);
    await system.admin("delete from walhook.webhook where name = 'w'");
    await system.caughtUp();
    answer();
    await system.settled();
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 0);
    expect(await system.look("select outcome, attempt, error from walhook.webhook_request_log")).toEqual([
      { outcome: "cancelled", attempt: 1, error: "HTTP 500" },
    ]);
  });

  it("on_exhausted = 'continue' lets its document go on", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{}", on_exhausted: "hold" });
    await system.startBridge();
    await system.app("insert into orders values (1)");
    await eventually(() => system.received("w").length === 1);
    await system.admin("update walhook.webhook set on_exhausted = 'continue' where name = 'w'");
    await system.app("update orders set note = 'next'");
    await system.caughtUp();
    system.receiver.answer({});
    answer();
    await eventually(() => system.received("w").length === 2);
    await system.settled();
    expect(await system.look("select docevent, is_dead, holds_lane from walhook.webhook_queue")).toEqual([
      { docevent: "after_insert", is_dead: true, holds_lane: false },
    ]);
  });
});
