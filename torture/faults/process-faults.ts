import { setTimeout as sleep } from "node:timers/promises";
import { FAIL_POINTS, type FailPointName } from "../bridges/fail-points.ts";
import type { Fault } from "./fault.ts";

/** What happens to the bridges' processes. */
export const PROCESS_FAULTS: readonly Fault[] = [
  {
    kind: "bridge SIGKILL",
    copies: 2,
    inject: async ({ contenders, random }) => random.pick(contenders).process.signal("SIGKILL"),
  },
  {
    kind: "both bridges SIGKILL",
    copies: 1,
    inject: async ({ contenders }) => {
      for (const { process } of contenders) process.signal("SIGKILL");
    },
  },
  {
    kind: "bridge SIGTERM",
    copies: 1,
    inject: async ({ contenders, random }) => random.pick(contenders).process.signal("SIGTERM"),
  },
  {
    kind: "bridge frozen",
    copies: 2,
    inject: async ({ contenders, random }) => {
      const { process } = random.pick(contenders);
      process.signal("SIGSTOP");
      await sleep(random.between(1000, 6000));
      process.signal("SIGCONT");
    },
  },
  ...FAIL_POINTS.map(({ name }) => failPoint(name)),
];

export const END_WALSENDER =
  "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name ~ '^walhook_' and active";

/** The next bridge that comes by dies there. Those of the start are passed only by somebody who takes over: the walsender's end sees to that. */
function failPoint(name: FailPointName): Fault {
  const isOfStart = name === "after START_REPLICATION" || name === "after the epoch was raised";
  return {
    kind: `dies ${name}`,
    copies: 1,
    inject: async ({ contenders, random, world }) => {
      const passes = isOfStart ? 1 : random.between(1, 20);
      for (const { process } of contenders) process.arm({ name, passes, signal: "SIGKILL" });
      if (isOfStart) await world.asSuperuser((client) => client.query(END_WALSENDER));
    },
  };
}
