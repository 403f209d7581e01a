import type { MaintenanceTally } from "./log-maintenance.ts";
import { median } from "./percentile.ts";
import type { Tally } from "./receiver-protocol.ts";
import type { Cell, Goal, Report } from "./report.ts";

/** The least time that a call may wait for a lock: one a second, so that more than a hundredth of the deliveries would wait. */
const LOCK_WAIT_MS = 50;

/** A stretch of steady deliveries. */
export interface RetentionRun {
  readonly tally: Tally;
  readonly maintenance: MaintenanceTally | null;
}

/** The same in each round. */
export interface RetentionRuns {
  readonly what: string;
  readonly runs: readonly RetentionRun[];
}

/** What stands in `walhook.bridge.maintenance`. */
export interface BridgeWords {
  /** Where a transaction that has read the log was open at the bridge's start. */
  readonly whileRead: string;
  /** After the start of the next one, when nobody reads. */
  readonly afterwards: string;
}

/** @param stretches the first one is what the others are compared with, round by round */
export function reportRetention(stretches: readonly RetentionRuns[], words: BridgeWords, version: string): Report {
  const [alone] = stretches;
  const of = ({ runs }: RetentionRuns, pick: (run: RetentionRun) => number): number => median(runs.map(pick));
  const sum = ({ runs }: RetentionRuns, pick: (done: MaintenanceTally) => number): number | null =>
    runs.reduce<number | null>(
      (total, { maintenance }) => (maintenance === null ? total : (total ?? 0) + pick(maintenance)),
      null,
    );
  const ratioOf = ({ runs }: RetentionRuns, pick: (run: RetentionRun) => number): number =>
    median(runs.map((run, round) => pick(run) / pick(alone!.runs[round]!)));
  return {
    tables: [
      {
        title: `commit to receipt, PostgreSQL ${version}, medians of ${alone?.runs.length ?? 0} rounds; what maintenance did in all of them together`,
        columns: [
          "meanwhile",
          "deliveries",
          "p50 (ms)",
          "p99 (ms)",
          "p50 to nothing",
          "p99 to nothing",
          "p99 by round",
          "calls",
          "did it",
          "in use",
          "longest call (ms)",
        ],
        rows: stretches.map((stretch): Cell[] => [
          stretch.what,
          stretch.runs.reduce((total, { tally }) => total + tally.requests, 0),
          of(stretch, p50),
          of(stretch, p99),
          ratioOf(stretch, p50),
          ratioOf(stretch, p99),
          stretch.runs.map((run) => p99(run).toFixed(1)).join(", "),
          sum(stretch, ({ calls }) => calls),
          sum(stretch, ({ done }) => done),
          sum(stretch, ({ inUse }) => inUse),
          longest(stretch),
        ]),
      },
      {
        title:
          "what the calls said last; a bridge writes that into walhook.bridge.maintenance, which walhook.bridge_status shows",
        columns: ["meanwhile", "said"],
        rows: [
          ...stretches.flatMap(({ what, runs }) =>
            (runs.at(-1)?.maintenance?.words ?? []).map((said): Cell[] => [what, said]),
          ),
          ["the bridge's own, at its start beside an open transaction, whole log read", words.whileRead],
          ["the bridge's own, at its next start, nobody reading", words.afterwards],
        ],
      },
    ],
    goals: stretches.slice(1).flatMap((stretch): Goal[] => {
      const ratio = ratioOf(stretch, p99);
      const worst = Math.max(...stretch.runs.map(p99));
      return [
        {
          what: `${stretch.what}: p99`,
          goal: "<= 1.5 x with nothing",
          measured: `${ratio.toFixed(2)} x`,
          isMet: ratio <= 1.5,
        },
        {
          what: `${stretch.what}: p99 of the worst round; waiting for a lock that maintenance waits for shows as more`,
          goal: `< ${LOCK_WAIT_MS} ms`,
          measured: `${worst.toFixed(1)} ms`,
          isMet: worst < LOCK_WAIT_MS,
        },
      ];
    }),
  };
}

function p50({ tally }: RetentionRun): number {
  return tally.latencyMs?.p50 ?? Number.NaN;
}

function p99({ tally }: RetentionRun): number {
  return tally.latencyMs?.p99 ?? Number.NaN;
}

function longest({ runs }: RetentionRuns): number | null {
  const calls = runs.flatMap(({ maintenance }) => (maintenance === null ? [] : [maintenance.maxMs]));
  return calls.length === 0 ? null : Math.max(...calls);
}
