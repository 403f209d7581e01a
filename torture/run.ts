import { setTimeout as sleep } from "node:timers/promises";
import { makeContender } from "./bridges/contenders.ts";
import type { Ending } from "./verdict/duplicates.ts";
import { drain } from "./drain.ts";
import { FaultSchedule } from "./faults/fault-schedule.ts";
import { FAULTS } from "./faults/faults.ts";
import { Random } from "./random.ts";
import { reportOf, type RunReport } from "./verdict/run-report.ts";
import { judge } from "./verdict/verdict.ts";
import { Violations } from "./verdict/violations.ts";
import { Watch } from "./watch.ts";
import { Workload } from "./workload/workload.ts";
import { startWorld } from "./world.ts";

export interface RunOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Only faults whose kind contains this; null: all. */
  readonly faults: string | null;
  /** Whether data and logs stay also where all is well. */
  readonly isKept: boolean;
}

/** From this length on, faults have the time to show all their consequences. */
const LONG_RUN_SECONDS = 240;
const LONG = { writers: 4, hugeEveryMs: 240_000, gap: { leastMs: 1000, mostMs: 5000 } };
const SHORT = { writers: 2, hugeEveryMs: 20_000, gap: { leastMs: 500, mostMs: 1500 } };

/** Rows of a huge transaction: as many as the run has time to deliver. */
function hugeRows(seconds: number): number {
  return Math.min(Math.max(10_000, seconds * 100), 100_000);
}

/** A stall is longer than any backoff or timeout: who does nothing for so long does nothing any more. */
const DRAIN = { stallMs: 60_000, mostMs: 1_800_000 };

/** One run: changes and faults for so long, then the drain and the comparison. Closes what it started. */
export async function run({ seed, seconds, faults: only, isKept: isAlwaysKept }: RunOptions): Promise<RunReport> {
  const random = new Random(seed);
  const startedMs = Date.now();
  const world = await startWorld();
  const crashes = new Violations();
  const endings: Ending[] = [];
  const contenders = await Promise.all(
    ["bridge-a", "bridge-b"].map((name) =>
      makeContender({
        world,
        name,
        violations: crashes,
        onEnding: (reason) => endings.push({ reason, atMs: Date.now() }),
      }),
    ),
  );
  for (const { process } of contenders) process.start();
  const watch = new Watch(world, contenders);
  const { gap, ...size } = seconds >= LONG_RUN_SECONDS ? LONG : SHORT;
  const workload = new Workload({ world, random: random.fork(), hugeRows: hugeRows(seconds), ...size });
  const chosen = FAULTS.filter(({ kind }) => only === null || kind.includes(only));
  const faults = new FaultSchedule({ world, contenders, schema: workload.schema, random: random.fork() }, chosen, gap);
  workload.start();
  faults.start();
  await sleep(seconds * 1000);
  await faults.stop();
  await workload.stop();

  const drained = await drain(world, DRAIN);
  for (const { process, proxy } of contenders) {
    await process.stop();
    await proxy.close();
  }
  await watch.close();
  const comparison = await judge(world, drained, crashes);
  const isKept = isAlwaysKept || !comparison.violations.isEmpty;
  await world.close(isKept);
  return reportOf({
    seed,
    seconds,
    tookMs: Date.now() - startedMs,
    comparison,
    injected: faults.injected,
    endings,
    workload,
    drainMs: drained.ms,
    watch,
    kept: isKept ? world.folder : null,
  });
}
