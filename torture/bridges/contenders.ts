import { join } from "node:path";
import { BridgeProcess } from "./bridge-process.ts";
import { FAIL_POINTS } from "./fail-points.ts";
import type { Contender } from "../faults/fault.ts";
import { startProxy } from "./proxy.ts";
import type { Violations } from "../verdict/violations.ts";
import type { World } from "../world.ts";

export interface ContenderOptions {
  readonly world: World;
  readonly name: string;
  readonly violations: Pick<Violations, "add">;
  /** Mutants to be put into it. */
  readonly mutants?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly onEnding?: (reason: string) => void;
}

/** Makes a bridge with a network of its own to the database; it is not started. */
export async function makeContender(options: ContenderOptions): Promise<Contender> {
  const { world, name, violations, mutants = [] } = options;
  const proxy = await startProxy(world.server.port);
  const process = new BridgeProcess({
    name,
    databaseUrl: world.url("bridge", proxy.port),
    logFile: join(world.folder, `${name}.log`),
    patches: [...FAIL_POINTS.map((point) => point.name), ...mutants],
    ...(options.env === undefined ? {} : { env: options.env }),
    // With exit code 5 a bridge says that the slot or a publication is not as it was left.
    onCrash: (crash) => violations.add(/exit code 5\b/.test(crash) ? "gaps found" : "bridge crashes", crash),
    onEnding: options.onEnding ?? (() => {}),
  });
  return { process, proxy };
}
