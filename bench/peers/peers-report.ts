import { median } from "../percentile.ts";
import type { Cell, Report } from "../report.ts";
import type { TrialResult } from "./trial.ts";

/** A variant of a peer in all rounds. */
export interface PeerLine {
  readonly variant: string;
  readonly postgres: string;
  readonly results: TrialResult[];
  /** Why a round gave no result. */
  failure: string | null;
}

/** @param missing why each peer that this machine cannot run is left out, by its name */
export function peersReport(lines: readonly PeerLine[], missing: ReadonlyMap<string, string>): Report {
  const measured = lines.filter(({ results }) => results.length > 0);
  const failed = lines.filter(({ failure }) => failure !== null);
  const outs: Cell[][] = [
    ...[...missing].map(([name, reason]) => [name, reason]),
    ...failed.map(({ variant, failure }) => [variant, failure]),
  ];
  return {
    tables: [
      {
        title: `a burst of events, medians of ${measured[0]?.results.length ?? 0} rounds (lost and repeated: the worst round)`,
        columns: [
          "what",
          "PostgreSQL",
          "events/s",
          "lost",
          "repeated",
          "peer CPU s per 100,000",
          "server CPU s per 100,000",
        ],
        rows: measured.map(({ variant, postgres, results }) => [
          variant,
          postgres,
          mid(results, "perSecond"),
          worst(results, "lost"),
          worst(results, "repeated"),
          mid(results, "peerCpu"),
          mid(results, "serverCpu"),
        ]),
      },
      {
        title: "50 events/s: from the commit to the arrival",
        columns: ["what", "p50 ms", "p99 ms", "lost"],
        rows: measured.map(({ variant, results }) => [
          variant,
          mid(results, "p50Ms"),
          mid(results, "p99Ms"),
          worst(results, "steadyLost"),
        ]),
      },
      {
        title: "killed in the middle of a burst and started again at once (the worst round)",
        columns: ["what", "lost", "repeated"],
        rows: measured.map(({ variant, results }) => [
          variant,
          worst(results, "crashLost"),
          worst(results, "crashRepeated"),
        ]),
      },
      ...(outs.length === 0 ? [] : [{ title: "without figures", columns: ["what", "why"], rows: outs }]),
    ],
    goals: [],
  };
}

function mid(results: readonly TrialResult[], key: keyof TrialResult): Cell {
  const value = median(results.map((result) => result[key]));
  return Number.isNaN(value) ? null : value;
}

function worst(results: readonly TrialResult[], key: keyof TrialResult): Cell {
  return Math.max(...results.map((result) => result[key]));
}
