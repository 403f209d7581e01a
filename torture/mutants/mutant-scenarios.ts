import { MUTANTS } from "./mutants.ts";
import { CHANGED_WHILE_READ, DIES_WHILE_REPLAYING, LOST_WHILE_SENT } from "./repair-scenarios.ts";
import type { Scenario } from "./scenario.ts";
import {
  ADJACENT_COMMIT,
  COUNTED_AND_MERGED,
  DIES_AFTER_LOGGING,
  DIES_BEFORE_STORING,
  DIES_BEHIND_A_SLOW_ONE,
  MANY_CHANGES_AT_ONCE,
  RECONNECTS_BEFORE_STORING,
  RETRIED_DOCUMENT,
} from "./stream-scenarios.ts";
import { CHECKPOINT_DURING_TAKEOVER, WAKES_AFTER_TAKEOVER } from "./takeover-scenarios.ts";

/** Where each mistake shows. */
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "acknowledges LSN + 1": ADJACENT_COMMIT,
  "acknowledges what was only received": DIES_BEFORE_STORING,
  "acknowledges a keepalive ahead of queued data": DIES_BEFORE_STORING,
  "subscribes again at the last received LSN": RECONNECTS_BEFORE_STORING,
  "makes ids of the commit LSN alone": MANY_CHANGES_AT_ONCE,
  "leaves the doc event out of the id": MANY_CHANGES_AT_ONCE,
  "moves the cursor outside of the log's transaction": DIES_AFTER_LOGGING,
  "writes log rows above the cursor": DIES_BEHIND_A_SLOW_ONE,
  "does not check the epoch": WAKES_AFTER_TAKEOVER,
  "reads the cursor before START_REPLICATION has succeeded": CHECKPOINT_DURING_TAKEOVER,
  "ignores the order of a lane on retry": RETRIED_DOCUMENT,
  "counts log rows in a transaction of its own": DIES_AFTER_LOGGING,
  "loses what is counted when it merges": COUNTED_AND_MERGED,
  "backfills rows that changed while they were read": CHANGED_WHILE_READ,
  "takes a backfill for done that was only interrupted": LOST_WHILE_SENT,
  "takes what it replays next in a transaction of its own": DIES_WHILE_REPLAYING,
};

/** The names of all mutants. */
export const MUTANT_NAMES: readonly string[] = [...new Set(MUTANTS.map(({ name }) => name))];

/** The scenario that a mutant must not survive. Throws for a mutant without one. */
export function scenarioOf(mutant: string): Scenario {
  const scenario = SCENARIOS[mutant];
  if (scenario === undefined) throw new TypeError(`there is no scenario for the mutant "${mutant}"`);
  return scenario;
}
