import { afterEach, beforeEach, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("open_configuration");
  await system.app("create table live (id int primary key); create table other (id int primary key)");
});
afterEach(() => system.drop());

it("somebody's transaction that has changed webhooks and stays open holds up neither events nor a stop, though receivers have gone for good; what was to be written is written when it ends", async () => {
  for (const n of [1, 2, 3, 4]) await system.webhook(`g${n}`, "live", "after_insert");
  await system.webhook("healthy", "other", "after_insert");
  system.receiver.answer(({ path }) => ({ status: path === "/healthy" ? 200 : 410 }));
  const bridge = await system.startBridge({ drainMs: 500 });
  const person = await system.db.connect(system.roles.admin);
  await person.query("begin; update walhook.webhook set modified_at = now() where name like 'g%'");
  await system.app("insert into live values (1)");
  await eventually(() => [1, 2, 3, 4].every((n) => system.received(`g${n}`).length === 1));
  for (let n = 1; n <= 20; n++) await system.app("insert into other values ($1)", [n]);
  await eventually(() => system.received("healthy").length === 20);
  await bridge.stop();
  expect(await system.look("select state from walhook.bridge")).toEqual([{ state: "stopped" }]);
  await system.startBridge();
  await person.query("commit");
  await system.app("insert into live values (2)");
  await eventually(
    async () => (await system.look("select from walhook.webhook where not enabled and name like 'g%'")).length === 4,
  );
});
