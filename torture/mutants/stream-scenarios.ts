import { setTimeout as sleep } from "node:timers/promises";
import { changesOn } from "../workload/changes.ts";
import { tableNamed, type Scenario } from "./scenario.ts";

const simple = tableNamed("simple");
const composite = tableNamed("composite");

/** A Commit record that begins at exactly the byte up to which the slot was acknowledged. */
export const ADJACENT_COMMIT: Scenario = {
  name: "a commit right behind the acknowledged place, while no bridge runs",
  play: async (stage) => {
    // The server itself writes now and then, and then the commit is not adjacent: several tries.
    for (let round = 0; round < 4; round++) {
      await stage.start(stage.a);
      const open = await stage.world.connect("app");
      await open.query("begin");
      await changesOn(open).insert(simple, 1, 10 * round);
      await stage.changes.insert(simple, 1, 10 * round + 1);
      if (!(await stage.isAllAcknowledged(10_000))) throw new Error("an idle bridge does not acknowledge");
      await stage.kill(stage.a);
      await open.query("commit");
      await open.end();
    }
    await stage.start(stage.a);
  },
};

/** The bridge has received a change, has stored nothing of it, and dies. */
export const DIES_BEFORE_STORING: Scenario = {
  name: "killed between receiving and storing",
  play: async (stage) => {
    await stage.start(stage.a);
    stage.world.receiver.behave("simple-all", "hang");
    await stage.withoutCheckpoints(async () => {
      await stage.changes.insert(simple, 3, 1);
      await stage.arrived("simple-all");
      // Longer than the server takes to ask with a keepalive.
      await stage.isAllAcknowledged(3000);
      await stage.kill(stage.a);
    });
    stage.world.receiver.behave("simple-all", "well");
    await stage.start(stage.a);
  },
};

/** The bridge loses its connection when it has received a change and stored nothing of it. */
export const RECONNECTS_BEFORE_STORING: Scenario = {
  name: "connections cut between receiving and storing",
  play: async (stage) => {
    await stage.start(stage.a);
    stage.world.receiver.behave("simple-all", "hang");
    await stage.withoutCheckpoints(async () => {
      await stage.changes.insert(simple, 3, 1);
      await stage.arrived("simple-all");
      stage.a.proxy.cut();
    });
    stage.world.receiver.behave("simple-all", "well");
  },
};

/** Many changes of one transaction, some at one LSN, some with two events for one webhook. */
export const MANY_CHANGES_AT_ONCE: Scenario = {
  name: "a transaction of many changes",
  play: async (stage) => {
    await stage.start(stage.a);
    await stage.changes.insert(simple, 40, 1);
    await stage.changes.update(simple, 40, 0);
    await stage.accepted("simple-some");
  },
};

/** Something has just been written into the log, and the bridge dies. */
export const DIES_AFTER_LOGGING: Scenario = {
  name: "killed as soon as a log row is there",
  play: async (stage) => {
    await stage.start(stage.a);
    await stage.changes.insert(tableNamed("keyless"), 1, 1);
    await stage.isLogged(1, 5000);
    await stage.kill(stage.a);
    await stage.start(stage.a);
  },
};

/** A delivery that succeeds behind one that is still under way: the bridge dies while the cursor waits for the first. */
export const DIES_BEHIND_A_SLOW_ONE: Scenario = {
  name: "killed when a later delivery has ended and an earlier one has not",
  env: { WALHOOK_GRACE_MS: "10000" },
  play: async (stage) => {
    await stage.start(stage.a);
    stage.world.receiver.behave("composite-all", "hang");
    await stage.changes.insert(composite, 1, 1);
    await stage.arrived("composite-all");
    await stage.changes.insert(tableNamed("keyless"), 1, 1);
    await stage.accepted("keyless-new");
    await stage.isLogged(1, 700);
    await stage.kill(stage.a);
    stage.world.receiver.behave("composite-all", "well");
    await stage.start(stage.a);
  },
};

/** Several changes of one document while its receiver fails. */
export const RETRIED_DOCUMENT: Scenario = {
  name: "a failing receiver, and further changes of the same document",
  play: async (stage) => {
    await stage.start(stage.a);
    stage.world.receiver.behave("composite-all", "500");
    await stage.changes.insert(composite, 1, 1);
    for (let change = 0; change < 3; change++) await stage.changes.update(composite, 1, 0);
    await stage.arrived("composite-all");
    await sleep(1500);
    stage.world.receiver.behave("composite-all", "well");
  },
};

/** Deliveries are counted, and there is time to merge what was counted. */
export const COUNTED_AND_MERGED: Scenario = {
  name: "a few deliveries, and a second of rest",
  play: async (stage) => {
    await stage.start(stage.a);
    await stage.changes.insert(tableNamed("keyless"), 3, 1);
    await stage.isLogged(3, 5000);
    await sleep(1000);
  },
};
