import { setTimeout as sleep } from "node:timers/promises";
import { makeContender } from "./bridges/contenders.ts";
import { drain } from "./drain.ts";
import type { Contender } from "./faults/fault.ts";
import { FaultSchedule, type Injected } from "./faults/fault-schedule.ts";
import { FAULTS } from "./faults/faults.ts";
import { Random } from "./random.ts";
import { Repairs } from "./repairs/repairs.ts";
import type { Ending } from "./verdict/duplicates.ts";
import { reportOf, type RunReport } from "./verdict/run-report.ts";
import { judge } from "./verdict/verdict.ts";
import { Violations } from "./verdict/violations.ts";
import { Watch } from "./watch.ts";
import { Workload } from "./workload/workload.ts";
import { startWorld, type World } from "./world.ts";

export interface RunOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Only faults whose kind contains this; null: all. */
  readonly faults: string | null;
  /** Whether data and logs stay also where all is well. */
  readonly isKept: boolean;
}

const WRITERS = 3;
/** From this length on, faults have the time to show all their consequences. */
const LONG_RUN_SECONDS = 240;
const LONG = { hugeEveryMs: 240_000, gap: { leastMs: 1000, mostMs: 5000 } };
const SHORT = { hugeEveryMs: 20_000, gap: { leastMs: 500, mostMs: 1500 } };

/** Rows of a huge transaction: as many as the run has time to deliver. */
function hugeRows(seconds: number): number {
  return Math.min(Math.max(10_000, seconds * 100), 100_000);
}

/** A stall is longer than any backoff or timeout: who does nothing for so long does nothing any more. */
const DRAIN = { stallMs: 60_000, mostMs: 1_800_000 };

/** One run: changes and faults for so long, then the drain and the comparison. Ends what it started. */
export async function run(options: RunOptions): Promise<RunReport> {
  const startedMs = Date.now();
  const world = await startWorld();
  const crashes = new Violations();
  const endings: Ending[] = [];
  const contenders = await startContenders(world, crashes, endings);
  const watch = new Watch(world, contenders);
  let isKept = true;
  try {
    const { workload, repairs, injected } = await disturb(world, contenders, options);
    const drained = await drain(world, DRAIN);
    for (const { process } of contenders) await process.stop();
    const asked = await repairs.conclude();
    for (const difference of repairs.differences) crashes.add("replay difference", difference);
    const verdict = await judge(world, drained, crashes, asked);
    isKept = options.isKept || !verdict.violations.isEmpty;
    return reportOf({
      seed: options.seed,
      seconds: options.seconds,
      tookMs: Date.now() - startedMs,
      verdict,
      injected,
      endings,
      workload,
      repairs,
      asked,
      drainMs: drained.ms,
      watch,
      kept: isKept ? world.folder : null,
    });
  } finally {
    await watch.close();
    for (const { process, proxy } of contenders) {
      await process.stop("SIGKILL");
      await proxy.close();
    }
    await world.close(isKept);
  }
}

async function startContenders(world: World, crashes: Violations, endings: Ending[]): Promise<readonly Contender[]> {
  const make = (name: string): Promise<Contender> =>
    makeContender({
      world,
      name,
      violations: crashes,
      onEnding: (reason) => endings.push({ reason, atMs: Date.now() }),
    });
  const contenders = [await make("bridge-a"), await make("bridge-b")];
  for (const { process } of contenders) process.start();
  return contenders;
}

/** Writes and injects for so long. When it returns, no change is under way and nothing of any fault is left. */
async function disturb(
  world: World,
  contenders: readonly Contender[],
  { seed, seconds, faults: only }: RunOptions,
): Promise<{ readonly workload: Workload; readonly repairs: Repairs; readonly injected: readonly Injected[] }> {
  const random = new Random(seed);
  const { gap, hugeEveryMs } = seconds >= LONG_RUN_SECONDS ? LONG : SHORT;
  const workload = new Workload({
    world,
    random: random.fork(),
    writers: WRITERS,
    hugeRows: hugeRows(seconds),
    hugeEveryMs,
  });
  const scenery = { world, contenders, schema: workload.schema, random: random.fork() };
  const faults = FAULTS.filter(({ kind }) => only === null || kind.includes(only));
  const schedule = new FaultSchedule(scenery, faults, gap);
  // The last to choose, so that changes and faults of a seed are the same with it and without.
  const repairs = new Repairs(world, workload.tables, random.fork());
  workload.start();
  repairs.start();
  schedule.start();
  await sleep(seconds * 1000);
  await schedule.stop();
  await workload.stop();
  await repairs.stop();
  return { workload, repairs, injected: schedule.injected };
}
