import { afterEach, beforeEach, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("replay_stop");
  await system.app("create table orders (id int primary key)");
  await system.webhook("w", "orders", "after_insert");
});
afterEach(() => system.drop());

it("a replay that is stopped while it is being chosen leaves nothing behind; a bridge that is stopped then does not wait for it", async () => {
  const bridge = await system.startBridge();
  await system.app("insert into orders select n from generate_series(1, 50) n");
  await system.settled();
  // Choosing waits for a day of the log that somebody holds; nothing is written to that day.
  const [old] = await system.look(
    "select walhook.add_log_partitions(1) as words, to_char(now() - interval '3 days', 'YYYYMMDD') as day",
  );
  const day = `walhook.webhook_request_log_${String(old?.["day"])}`;
  await system.look(
    `create table ${day} (like walhook.webhook_request_log including all);
     alter table walhook.webhook_request_log attach partition ${day}
       for values from (date_trunc('day', now() - interval '3 days', 'UTC')) to (date_trunc('day', now() - interval '2 days', 'UTC'));
     alter table ${day} owner to walhook_owner`,
  );
  const holder = await system.db.connect();
  await system.admin("select walhook.pause('w')");
  await system.admin("select walhook.replay('w', since => '-infinity', dry_run => false)");
  await holder.query(`begin; lock table ${day} in access exclusive mode`);
  await system.admin("select walhook.resume('w')");
  const chooses = async () =>
    (
      await system.look(
        "select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'into walhook.replay_item' and datname = current_database()",
      )
    ).length === 1;
  await eventually(chooses);
  await system.admin("select walhook.stop_replay(1)");
  await eventually(
    async () => (await system.look("select from walhook.replay_progress where state = 'stopped'")).length === 1,
  );
  await holder.query("commit");
  await eventually(async () => !(await chooses()));
  await system.caughtUp();
  expect(await system.look("select from walhook.replay_item")).toEqual([]);

  await system.admin("select walhook.pause('w')");
  await system.admin("select walhook.replay('w', since => '-infinity', dry_run => false)");
  await holder.query(`begin; lock table ${day} in access exclusive mode`);
  await system.admin("select walhook.resume('w')");
  await eventually(chooses);
  await bridge.stop();
  await holder.query("commit");
  const sent = system.received("w").length;
  await system.startBridge();
  await eventually(() => system.received("w").length === sent + 50);
});
