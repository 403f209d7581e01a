import { setTimeout as sleep } from "node:timers/promises";
import type { Fault, Scenery } from "./fault.ts";
import type { Network } from "../bridges/proxy.ts";

/** What happens between bridges and database. */
export const NETWORK_FAULTS: readonly Fault[] = [
  {
    kind: "connections cut",
    copies: 1,
    inject: async ({ contenders, random }) => random.pick(contenders).proxy.cut(),
  },
  {
    kind: "connections half-open",
    copies: 1,
    inject: async ({ contenders, random }) => random.pick(contenders).proxy.abandon(),
  },
  { kind: "200 ms latency", copies: 1, inject: (scenery) => behave(scenery, "late") },
  { kind: "3 bytes at a time", copies: 1, inject: (scenery) => behave(scenery, "dribble") },
];

async function behave({ contenders, random }: Scenery, network: Network): Promise<void> {
  for (const { proxy } of contenders) proxy.behave(network);
  await sleep(random.between(1000, 4000));
  for (const { proxy } of contenders) proxy.behave("well");
}
