import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let answer: (() => void) | null;
/** The old place says that it is gone, when `answer` is called. */
beforeEach(async () => {
  answer = null;
  system = await startSystem("late_gone");
  await system.app("create table orders (id int primary key)");
  await system.webhook("w", "orders", "after_insert", { timeout: "20 s" });
  system.receiver.answer(({ path }) =>
    path === "/w" ? { status: 410, until: new Promise<void>((resolve) => (answer = resolve)) } : {},
  );
  await system.startBridge({ graceMs: 50 });
  await system.app("insert into orders values (1)");
  await eventually(() => answer !== null);
});
afterEach(() => system.drop());

const move = () =>
  system.admin(`update walhook.webhook set request_url = '${system.receiver.url}/new' where name = 'w'`);
const webhook = () => system.look("select enabled from walhook.webhook");

describe("410 from a URL that the webhook has not any more", () => {
  it("disables nothing where the URL was changed while the request was under way, and loses nothing", async () => {
    await move();
    await system.caughtUp();
    answer!();
    await system.settled();
    await system.app("insert into orders values (2)");
    await eventually(() => system.received("new").length === 2);
    expect(await webhook()).toEqual([{ enabled: true }]);
  });

  it("nor where it is being changed in a transaction that is open when the answer comes", async () => {
    await system.admin("begin");
    await move();
    answer!();
    const waits =
      "select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'disable_webhook' and datname = current_database()";
    await eventually(async () => (await system.look(waits)).length > 0);
    await system.admin("commit");
    await system.settled();
    await system.app("insert into orders values (2)");
    await eventually(() => system.received("new").length === 2);
    expect(await webhook()).toEqual([{ enabled: true }]);
  });
});
