import type { Fault } from "./fault.ts";

/** Everything that goes wrong. */
export const FAULTS: readonly Fault[] = [
  {
    kind: "bridge SIGKILL",
    weight: 10,
    inject: async ({ contenders, random }) => random.pick(contenders).process.signal("SIGKILL"),
  },
];
