import { median } from "./percentile.ts";
import type { Tally } from "./receiver-protocol.ts";
import type { Cell, Goal, Report } from "./report.ts";

/** One measurement of the live webhook. */
export interface IsolationRun {
  readonly beside: string;
  readonly live: Tally;
  readonly maxLagMb: number;
  /** What became of the troubled webhook; null for the live one alone. */
  readonly drain: Drain | null;
}

export interface Drain {
  readonly parked: number;
  readonly seconds: number | null;
  readonly tally: Tally;
}

export function reportIsolation(runs: readonly IsolationRun[], concurrency: number, peakMb: number): Report {
  const alone = runs.filter(({ drain }) => drain === null);
  const p50 = median(alone.map(({ live }) => live.latencyMs?.p50 ?? Number.NaN));
  const p99 = median(alone.map(({ live }) => live.latencyMs?.p99 ?? Number.NaN));
  const rows = runs.map(({ beside, live, maxLagMb, drain }): Cell[] => [
    beside,
    live.requests,
    live.latencyMs?.p50 ?? null,
    live.latencyMs?.p99 ?? null,
    (live.latencyMs?.p99 ?? Number.NaN) / p99,
    maxLagMb,
    drain?.parked ?? null,
    drain?.seconds ?? null,
    drain?.tally.mostAtOnce ?? null,
    drain?.tally.inverted ?? null,
  ]);
  return {
    tables: [
      {
        title: `the live webhook; alone: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms (medians); RSS max ${peakMb.toFixed(0)} MB`,
        columns: [
          "beside",
          "live",
          "p50 (ms)",
          "p99 (ms)",
          "p99 to alone",
          "lag max (MB)",
          "parked",
          "drained in (s)",
          "most at once",
          "out of order",
        ],
        rows,
      },
    ],
    goals: runs.filter(({ drain }) => drain !== null).flatMap((run) => goalsOf(run, p99, concurrency)),
  };
}

function goalsOf(
  { beside, live, maxLagMb, drain }: IsolationRun,
  aloneP99: number,
  concurrency: number,
): readonly Goal[] {
  const ratio = (live.latencyMs?.p99 ?? Number.NaN) / aloneP99;
  const goals: Goal[] = [
    { what: `${beside}: p99`, goal: "<= 1.5 x alone", measured: `${ratio.toFixed(2)} x`, isMet: ratio <= 1.5 },
    { what: `${beside}: lag`, goal: "< 16 MB", measured: `${maxLagMb.toFixed(1)} MB`, isMet: maxLagMb < 16 },
  ];
  if (drain === null || !beside.startsWith("endpoint")) return goals;
  const { tally, seconds } = drain;
  goals.push({
    what: `${beside}: drain`,
    goal: `whole, in order, at most ${concurrency} at once`,
    measured: `${seconds === null ? "not whole" : "whole"}, ${tally.inverted} out of order, ${tally.mostAtOnce} at once`,
    isMet: seconds !== null && tally.inverted === 0 && tally.mostAtOnce <= concurrency,
  });
  return goals;
}
