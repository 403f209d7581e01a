import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startRelay, type Relay } from "../support/relay.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let relay: Relay;
beforeEach(async () => {
  system = await startSystem("replay_stop_races");
  await system.app("create table orders (id int primary key)");
  await system.webhook("w", "orders", "after_insert");
  const direct = system.db.urlAs(system.roles.bridge);
  relay = await startRelay(direct);
  await system.startBridge({ databaseUrl: relay.url, replicationUrl: direct });
  await system.app("insert into orders select n from generate_series(1, 5) n");
  await system.settled();
});
afterEach(async () => {
  await system.stopBridges();
  relay.close();
  await system.drop();
});

const replay = () => system.admin("select walhook.replay('w', since => '-infinity', dry_run => false)");
const stop = () => system.admin("select walhook.stop_replay(1)");
const left = () => system.look("select state, queued::int from walhook.replay_state order by replay_id");
/** Another replay that is done: the replayer has had its turn since. */
async function afterATurn(): Promise<void> {
  const before = system.received("w").length;
  await system.admin("select walhook.replay('w', since => '-infinity', dry_run => false)");
  await eventually(() => system.received("w").length >= before + 5);
  await eventually(
    async () => (await system.look("select from walhook.replay_state where state = 'done'")).length === 1,
  );
}

describe("a replay that is stopped", () => {
  it("while its choice becomes durable sends nothing, and leaves nothing behind", async () => {
    const held = relay.hold("update walhook.replay_state set state = 'running'", "answer");
    await replay();
    await held.isCaught;
    await stop();
    const waits =
      "select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'stopped' and datname = current_database()";
    await eventually(async () => (await system.look(waits)).length > 0);
    held.release();
    await system.caughtUp();
    await eventually(async () => (await left())[0]?.["state"] === "stopped");
    await afterATurn();
    expect(system.received("w")).toHaveLength(10);
    expect(await system.look("select from walhook.replay_item where replay_id = 1")).toEqual([]);
    expect((await left())[0]).toEqual({ state: "stopped", queued: 0 });
  });

  it("while its next portion is about to be queued stays stopped", async () => {
    const held = relay.hold("as is_ours from walhook.bridge for update", "question");
    await replay();
    await held.isCaught;
    await stop();
    await system.caughtUp();
    await eventually(async () => (await left())[0]?.["state"] === "stopped");
    held.release();
    await afterATurn();
    expect(system.received("w")).toHaveLength(10);
    expect((await left())[0]).toEqual({ state: "stopped", queued: 0 });
  });
});
