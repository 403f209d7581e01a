import { setTimeout as sleep } from "node:timers/promises";
import { END_WALSENDER } from "../faults/process-faults.ts";
import { tableNamed, type Scenario } from "./scenario.ts";

const composite = tableNamed("composite");

/** A backfill of rows that are changed while it reads them. */
export const CHANGED_WHILE_READ: Scenario = {
  name: "a backfill of rows that change all the while",
  play: async (stage) => {
    await stage.start(stage.a);
    await stage.changes.insert(composite, 20, 1);
    await stage.isLogged(40, 5000);
    await stage.backfill("composite-all");
    for (let round = 0; round < 30; round++) {
      await stage.changes.update(composite, 20, 0);
      await sleep(20);
    }
  },
};

/** The last rows of a backfill are under way when the connection is lost. */
export const LOST_WHILE_SENT: Scenario = {
  name: "the walsender's end while a backfill's last rows are under way",
  play: async (stage) => {
    await stage.start(stage.a);
    await stage.changes.insert(composite, 5, 1);
    await stage.isLogged(10, 5000);
    stage.world.receiver.behave("composite-all", "hang");
    await stage.backfill("composite-all");
    await stage.arrived("composite-all", (arrival) => arrival.isBackfill);
    await stage.superuser.query(END_WALSENDER);
    await sleep(500);
    stage.world.receiver.behave("composite-all", "well");
  },
};

/** A replay has taken deliveries from those that are still to be sent again, and the bridge dies. */
export const DIES_WHILE_REPLAYING: Scenario = {
  name: "killed when a replay has just taken what it sends next",
  play: async (stage) => {
    await stage.start(stage.a);
    await stage.changes.insert(tableNamed("keyless"), 5, 1);
    await stage.isLogged(5, 5000);
    await stage.replay("keyless-new");
    await stage.until("the replay has taken what it sends", () =>
      stage.says(
        "select from walhook.replay_state s where s.deliveries > 0 and not exists (select from walhook.replay_item)",
      ),
    );
    await stage.kill(stage.a);
    await stage.start(stage.a);
  },
};
