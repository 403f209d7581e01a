import type { BridgeProcess } from "../bridges/bridge-process.ts";
import type { Proxy } from "../bridges/proxy.ts";
import type { Random } from "../random.ts";
import type { SchemaChanges } from "../workload/schema-changes.ts";
import type { World } from "../world.ts";

/** A bridge and the network between it and the database. */
export interface Contender {
  readonly process: BridgeProcess;
  readonly proxy: Proxy;
}

/** What a fault may do things to. */
export interface Scenery {
  readonly world: World;
  readonly contenders: readonly Contender[];
  readonly schema: SchemaChanges;
  readonly random: Random;
}

/** Something that goes wrong. */
export interface Fault {
  readonly kind: string;
  /** How often it comes in a round of all faults. */
  readonly copies: number;
  /** Does it, and mends it where that takes somebody: resolves when nothing of it is left. */
  readonly inject: (scenery: Scenery) => Promise<void>;
}
