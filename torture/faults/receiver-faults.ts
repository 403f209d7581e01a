import { setTimeout as sleep } from "node:timers/promises";
import type { ReceiverMode } from "../receiver/arrival.ts";
import type { Fault, Scenery } from "./fault.ts";

/** What happens at the receiver. */
export const RECEIVER_FAULTS: readonly Fault[] = [
  {
    kind: "receiver refuses connections",
    copies: 1,
    inject: async ({ world, random }) => {
      world.receiver.listen(false);
      await sleep(random.between(500, 3000));
      world.receiver.listen(true);
    },
  },
  { kind: "receiver hangs", copies: 1, inject: (scenery) => behave(scenery, "hang") },
  { kind: "receiver answers 500", copies: 1, inject: (scenery) => behave(scenery, "500") },
  { kind: "receiver answers 429", copies: 1, inject: (scenery) => behave(scenery, "429") },
  { kind: "receiver is slow", copies: 1, inject: (scenery) => behave(scenery, "slow") },
  { kind: "receiver resets", copies: 1, inject: (scenery) => behave(scenery, "reset") },
  { kind: "receiver resets after 200", copies: 1, inject: (scenery) => behave(scenery, "reset after 200") },
];

/** To about half of the webhooks for a while. */
async function behave({ world, random }: Scenery, mode: ReceiverMode): Promise<void> {
  const webhooks = world.webhooks.map(({ name }) => name).filter(() => random.chance(0.5));
  for (const name of webhooks) world.receiver.behave(name, mode);
  await sleep(random.between(500, 4000));
  for (const name of webhooks) world.receiver.behave(name, "well");
}
