import { causeOf, type Ending } from "./duplicates.ts";
import type { Asked } from "../repairs/asked.ts";
import type { Repairs } from "../repairs/repairs.ts";
import type { Injected } from "../faults/fault-schedule.ts";
import type { Violations } from "./violations.ts";
import type { Verdict } from "./verdict.ts";
import type { Watch } from "../watch.ts";
import type { Workload } from "../workload/workload.ts";

/** A run in figures, as it is written to the report's file. */
export interface RunReport {
  readonly seed: number;
  readonly seconds: number;
  readonly tookSeconds: number;
  readonly drainSeconds: number;
  /** Transactions of the application, by kind. */
  readonly transactions: Readonly<Record<string, { readonly done: number; readonly failed: number }>>;
  readonly refusals: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, FaultFigures>>;
  /** How a bridge's work came to an end, and how often. */
  readonly endings: Readonly<Record<string, number>>;
  /** Changes of watched tables that were committed. */
  readonly changes: number;
  /** Deliveries that they had to lead to. */
  readonly expected: number;
  readonly requests: number;
  readonly delivered: number;
  readonly repairs: RepairFigures;
  /** Accepted again, by cause. */
  readonly duplicates: Readonly<Record<string, number>>;
  readonly zeroes: Violations["counts"];
  readonly examples: Violations["examples"];
  /** From a fault to the next delivery that is accepted for the first time, in ms, over all faults. */
  readonly recoveryMs: Percentiles;
  readonly maxRetainedWalMb: number;
  readonly maxResidentMb: number;
  /** Every fault, in order. */
  readonly injected: readonly Injected[];
  /** Where data and logs are, where they were kept. */
  readonly kept: string | null;
}

/** What was asked for beside changes. */
export interface RepairFigures {
  readonly backfills: number;
  /** Rows that they sent. */
  readonly backfilled: number;
  /** Of those, sent with another body once more. */
  readonly readAnew: number;
  readonly replays: number;
  /** Deliveries that they sent again. */
  readonly replayed: number;
  /** Webhooks that were paused and resumed. */
  readonly pauses: number;
  /** Could not be asked. */
  readonly failures: number;
}

export interface Percentiles {
  readonly p50: number;
  readonly max: number;
}

export interface FaultFigures {
  readonly count: number;
  /** Could not be injected. */
  readonly failed: number;
  readonly recoveryMs: Percentiles;
}

export interface RunFacts {
  readonly seed: number;
  readonly seconds: number;
  readonly tookMs: number;
  readonly verdict: Verdict;
  readonly injected: readonly Injected[];
  readonly endings: readonly Ending[];
  readonly workload: Pick<Workload, "transactions" | "refusals">;
  readonly repairs: Pick<Repairs, "pauses" | "failures">;
  readonly asked: Asked;
  readonly drainMs: number;
  readonly watch: Pick<Watch, "maxRetainedBytes" | "maxResidentMb">;
  readonly kept: string | null;
}

export function reportOf(facts: RunFacts): RunReport {
  const { verdict, injected, workload, watch } = facts;
  const recovered = (faults: readonly Injected[]): Percentiles =>
    percentiles(faults.flatMap(({ atMs }) => msToNext(verdict.acceptedAtMs, atMs) ?? []));
  return {
    seed: facts.seed,
    seconds: facts.seconds,
    tookSeconds: Math.round(facts.tookMs / 1000),
    drainSeconds: Math.round(facts.drainMs / 100) / 10,
    transactions: Object.fromEntries(workload.transactions),
    refusals: Object.fromEntries(workload.refusals),
    faults: Object.fromEntries(
      [...new Set(injected.map(({ kind }) => kind))].toSorted().map((kind) => {
        const faults = injected.filter((fault) => fault.kind === kind);
        const failed = faults.filter(({ error }) => error !== null).length;
        return [kind, { count: faults.length, failed, recoveryMs: recovered(faults) }];
      }),
    ),
    endings: countEach(facts.endings.map(({ reason }) => reason)),
    changes: verdict.changes,
    expected: verdict.expected,
    requests: verdict.requests,
    delivered: verdict.delivered,
    repairs: {
      backfills: facts.asked.backfills.length,
      backfilled: verdict.backfilled,
      readAnew: verdict.readAnew,
      replays: facts.asked.replays.length,
      replayed: verdict.replayed,
      pauses: facts.repairs.pauses,
      failures: facts.repairs.failures,
    },
    duplicates: countEach(verdict.repeated.map((repetition) => causeOf(repetition, facts.endings, injected))),
    zeroes: verdict.violations.counts,
    examples: verdict.violations.examples,
    recoveryMs: recovered(injected),
    maxRetainedWalMb: Math.round(watch.maxRetainedBytes / 1024 / 1024),
    maxResidentMb: Math.round(watch.maxResidentMb),
    injected,
    kept: facts.kept,
  };
}

/** How long from `atMs` to the next of these times, which are in order; null where there is none. */
function msToNext(timesMs: readonly number[], atMs: number): number | null {
  let low = 0;
  let high = timesMs.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((timesMs[middle] ?? 0) < atMs) low = middle + 1;
    else high = middle;
  }
  const next = timesMs[low];
  return next === undefined ? null : next - atMs;
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b);
  return { p50: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 };
}

function countEach(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
