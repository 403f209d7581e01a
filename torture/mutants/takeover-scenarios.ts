import { END_WALSENDER } from "../faults/process-faults.ts";
import { tableNamed, type Scenario, type Stage } from "./scenario.ts";

/** Of one webhook: each change is one row of the log. */
const keyless = tableNamed("keyless");

/** A bridge that stood still before a checkpoint wakes up when another one has long gone on. */
export const WAKES_AFTER_TAKEOVER: Scenario = {
  name: "frozen before a checkpoint, taken over, woken",
  play: async (stage) => {
    await stage.start(stage.a);
    const isFrozen = stage.arm(stage.a, "before a checkpoint");
    await stage.changes.insert(keyless, 1, 1);
    await isFrozen();
    await losesSlotUnnoticed(stage);
    await stage.start(stage.b);
    await stage.until("the other one has logged it", () => stage.isLogged(1, 0));
    stage.a.process.signal("SIGCONT");
    await stage.isLogged(2, 1500);
  },
};

/** A bridge commits a checkpoint after another one has the slot and before that one has taken over. */
export const CHECKPOINT_DURING_TAKEOVER: Scenario = {
  name: "a last checkpoint between the successor's START_REPLICATION and its taking over",
  play: async (stage) => {
    await stage.start(stage.a);
    const isFrozen = stage.arm(stage.a, "before a checkpoint");
    await stage.changes.insert(keyless, 1, 1);
    await isFrozen();
    await losesSlotUnnoticed(stage);
    stage.b.process.start();
    await stage.arm(stage.b, "after START_REPLICATION")();
    stage.a.process.signal("SIGCONT");
    await stage.until("the last checkpoint is there", () => stage.isLogged(1, 0));
    stage.b.process.signal("SIGCONT");
    await stage.isLogged(2, 1500);
  },
};

/** The server gives up a client that it has not heard of, who does not learn of it; its connection for checkpoints works. */
async function losesSlotUnnoticed({ a, superuser }: Stage): Promise<void> {
  a.proxy.abandon("replication");
  await superuser.query(END_WALSENDER);
}
