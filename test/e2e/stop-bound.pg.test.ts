import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem } from "../support/system.ts";

it("a stop ends though somebody has locked the queue, and what was under way is sent by the next bridge", async () => {
  await using system = await startSystem("stop_bound");
  await system.app("create table orders (id int primary key)");
  await system.webhook("w", "orders", "after_insert");
  const bridge = await system.startBridge({ drainMs: 100 });
  await system.admin("select walhook.pause('w')");
  await system.app("insert into orders values (1)");
  await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 1);
  const holder = await system.db.connect();
  await holder.query("begin; lock table walhook.webhook_queue in access exclusive mode");
  await system.app("insert into orders values (2)");
  const waits = "select from pg_stat_activity where wait_event_type = 'Lock' and usename = $1";
  await eventually(async () => (await system.look(waits, [system.roles.bridge])).length > 0);
  // Without a bound it would wait for the lock: it is let go only behind it.
  await bridge.stop();
  await holder.query("rollback");
  await system.admin("select walhook.resume('w')");
  await system.startBridge();
  await system.settled();
  expect(
    new Set(
      system.received("w").map(({ body }) => (JSON.parse(body.toString()) as { data: { name: string } }).data.name),
    ),
  ).toEqual(new Set(["1", "2"]));
}, 90_000);
