import type { MaintenanceTally } from "./log-maintenance.ts";
import { median } from "./percentile.ts";
import type { Tally } from "./receiver-protocol.ts";
import type { Cell, Goal, Report } from "./report.ts";

/** A stretch of steady deliveries. */
export interface RetentionRun {
  readonly what: string;
  /** Nobody reads the log, and nothing is done to its partitions. */
  readonly isAlone: boolean;
  readonly tally: Tally;
  readonly maintenance: MaintenanceTally | null;
}

/** What stands in `walhook.bridge.maintenance`. */
export interface BridgeWords {
  /** Where a transaction that has read the log was open at the bridge's start. */
  readonly whileRead: string;
  /** After the bridge's next try, when it was over. */
  readonly afterwards: string;
}

export function reportRetention(runs: readonly RetentionRun[], words: BridgeWords, version: string): Report {
  const alone = runs.filter(({ isAlone }) => isAlone);
  const p99 = median(alone.map(({ tally }) => tally.latencyMs?.p99 ?? Number.NaN));
  const ratioOf = ({ tally }: RetentionRun): number => (tally.latencyMs?.p99 ?? Number.NaN) / p99;
  return {
    tables: [
      {
        title: `commit to receipt, PostgreSQL ${version}; each stretch against the median of those in which nothing else happens, p99 ${p99.toFixed(2)} ms`,
        columns: [
          "meanwhile",
          "deliveries",
          "p50 (ms)",
          "p99 (ms)",
          "max (ms)",
          "p99 to alone",
          "calls",
          "did it",
          "in use",
          "longest call (ms)",
        ],
        rows: runs.map((run): Cell[] => [
          run.what,
          run.tally.requests,
          run.tally.latencyMs?.p50 ?? null,
          run.tally.latencyMs?.p99 ?? null,
          run.tally.latencyMs?.max ?? null,
          ratioOf(run),
          run.maintenance?.calls ?? null,
          run.maintenance?.done ?? null,
          run.maintenance?.inUse ?? null,
          run.maintenance?.maxMs ?? null,
        ]),
      },
      {
        title: "what the calls said last; a bridge writes it into walhook.bridge.maintenance",
        columns: ["meanwhile", "said"],
        rows: [
          ...runs.flatMap(({ what, maintenance }) => (maintenance?.words ?? []).map((said): Cell[] => [what, said])),
          ["the bridge's own, at its start beside a transaction that has read the whole log", words.whileRead],
          ["the bridge's own next try, nobody reading", words.afterwards],
        ],
      },
    ],
    goals: runs
      .filter(({ isAlone }) => !isAlone)
      .map((run): Goal => {
        const ratio = ratioOf(run);
        return {
          what: `${run.what}: p99`,
          goal: "<= 1.5 x alone",
          measured: `${ratio.toFixed(2)} x`,
          isMet: ratio <= 1.5,
        };
      }),
  };
}
