import { makeContender } from "../bridges/contenders.ts";
import { drain } from "../drain.ts";
import { Stage, type Scenario } from "./scenario.ts";
import { judge } from "../verdict/verdict.ts";
import { Violations } from "../verdict/violations.ts";
import { startWorld } from "../world.ts";

/** What a scenario showed. */
export interface Played {
  readonly violations: Violations;
  /** From the scenario's beginning to the verdict. */
  readonly ms: number;
  /** Where data and logs are, kept because a mutant was not noticed, or something else was. */
  readonly kept: string | null;
}

/** A mutant may go round in circles for ever. */
const DRAIN = { stallMs: 12_000, mostMs: 30_000 };

/** Plays a scenario in a world of its own, with a mutant in its bridges or without. */
export async function play(scenario: Scenario, mutant: string | null): Promise<Played> {
  const world = await startWorld();
  const crashes = new Violations();
  const contender = (name: string) =>
    makeContender({
      world,
      name,
      violations: crashes,
      mutants: mutant === null ? [] : [mutant],
      ...(scenario.env === undefined ? {} : { env: scenario.env }),
    });
  const contenders = [await contender("bridge-a"), await contender("bridge-b")] as const;
  const app = await world.connect("app");
  const superuser = await world.connect("postgres");
  let isKept = true;
  const begin = Date.now();
  try {
    const stage = new Stage(world, contenders, app, superuser);
    await scenario.play(stage);
    const drained = await drain(world, DRAIN);
    for (const { process } of contenders) await process.stop(mutant === null ? "SIGTERM" : "SIGKILL");
    const { violations } = await judge(world, drained, crashes, await stage.asked());
    isKept = violations.isEmpty === (mutant !== null);
    return { violations, ms: Date.now() - begin, kept: isKept ? world.folder : null };
  } catch (error) {
    // The bridge itself has noticed that what it did to the slot cannot be right, and will not run again.
    if (mutant !== null && crashes.count("gaps found") > 0) {
      isKept = false;
      return { violations: crashes, ms: Date.now() - begin, kept: null };
    }
    throw new Error(
      `${scenario.name}: ${String(error)} (kept: ${world.folder})\n${(crashes.examples["bridge crashes"] ?? []).join("\n")}`,
      {
        cause: error,
      },
    );
  } finally {
    for (const { process, proxy } of contenders) {
      await process.stop("SIGKILL");
      await proxy.close();
    }
    await app.end();
    await superuser.end();
    await world.close(isKept);
  }
}
