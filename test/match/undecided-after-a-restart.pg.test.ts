import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

const stateOf = async (system: System): Promise<unknown> =>
  (await system.look("select state from walhook.webhook_state"))[0]?.["state"];

/** A webhook whose condition takes as long as a row says, and that is shown as undecided. */
async function undecided(label: string): Promise<System> {
  const system = await startSystem(label);
  await system.app(`create table orders (id int primary key); create table slow (seconds float); insert into slow values (1);
    grant select on slow to "${system.roles.admin}"`);
  await system.app(
    "create function slowly() returns boolean language plpgsql stable as $$ begin perform pg_sleep((select seconds from slow)); return true; end $$",
  );
  await system.webhook("w", "orders", "after_insert", { condition: "public.slowly()" });
  await system.startBridge();
  await system.app("insert into orders values (1)");
  await eventually(async () => (await stateOf(system)) === "undecided");
  return system;
}

it("a condition that answers again after a restart is not shown as undecided any more", async () => {
  await using system = await undecided("undecided_restart");
  await system.stopBridges();
  await system.app("update slow set seconds = 0");
  await system.startBridge();
  await system.settled();
  expect(system.received("w")).toHaveLength(1);
  await eventually(async () => (await stateOf(system)) === "ok");
});

it("nor is one of which nothing waits any more, cancelled under a bridge or gone while none was there", async () => {
  await using system = await undecided("undecided_cancelled");
  await system.admin("select walhook.cancel('w')");
  await eventually(async () => (await stateOf(system)) === "ok");
  await system.app("insert into orders values (2)");
  await eventually(async () => (await stateOf(system)) === "undecided");
  await system.stopBridges();
  await system.look("delete from walhook.webhook_queue");
  await system.startBridge();
  await eventually(async () => (await stateOf(system)) === "ok");
});
