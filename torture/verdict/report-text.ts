import type { MutantReport } from "../mutants/mutation-check.ts";
import type { RunReport } from "./run-report.ts";
import { ZEROES } from "./violations.ts";

/** A run's report for people. */
export function formatRun(report: RunReport): string {
  const { zeroes, faults, transactions, repairs } = report;
  const done = Object.values(transactions).reduce((sum, kind) => sum + kind.done, 0);
  const injected = Object.values(faults).reduce((sum, { count }) => sum + count, 0);
  const duplicates = Object.values(report.duplicates).reduce((sum, count) => sum + count, 0);
  return [
    `seed ${report.seed}: ${report.seconds} s of changes and faults, ${report.drainSeconds} s of drain`,
    "",
    table(
      Object.entries(faults).map(([kind, { count, failed, recoveryMs }]) => [
        kind,
        `${count}`,
        failed === 0 ? "" : `${failed} failed`,
        `next delivery after ${recoveryMs.p50} ms, at most ${recoveryMs.max} ms`,
      ]),
    ),
    "",
    table([
      ["faults", `${injected}`],
      ["a bridge's work ended", list(report.endings)],
      ["transactions", `${done}`],
      ["changes committed", `${report.changes}`],
      ["deliveries expected", `${report.expected}`],
      ["deliveries made", `${report.delivered}`],
      ["requests", `${report.requests}`],
      ["backfills", `${repairs.backfills}: ${repairs.backfilled} rows, ${repairs.readAnew} of them read anew`],
      ["replays", `${repairs.replays}: ${repairs.replayed} deliveries`],
      ["webhooks paused", `${repairs.pauses}`],
      ["repairs not asked, the server away", `${repairs.failures}`],
      ["duplicates", `${duplicates}${duplicates === 0 ? "" : `: ${list(report.duplicates)}`}`],
      ["fault to next delivery", `p50 ${report.recoveryMs.p50} ms, max ${report.recoveryMs.max} ms`],
      ["retained WAL, max", `${report.maxRetainedWalMb} MB`],
      ["memory of a bridge, max", `${report.maxResidentMb} MB`],
    ]),
    "",
    table(ZEROES.map((zero) => [zero, `${zeroes[zero]}`, zeroes[zero] === 0 ? "" : "must be 0"])),
    ...Object.entries(report.examples).map(([zero, examples]) => `\n${zero}:\n${examples.map(toLine).join("\n")}`),
    ...(report.kept === null ? [] : [`\nkept: ${report.kept}`]),
  ].join("\n");
}

/** A mutant's report for people. */
export function formatMutant({ mutant, scenario, caughtBy, example, seconds, control, kept }: MutantReport): string {
  const verdict = caughtBy.length === 0 ? "NOT CAUGHT" : `caught by: ${caughtBy.join(", ")}`;
  const without = control.length === 0 ? "all zero" : `NOT ZERO: ${control.join(", ")}`;
  return [
    mutant,
    `  ${verdict}, after ${seconds} s`,
    `  scenario: ${scenario}; without the mutant: ${without}`,
    ...(caughtBy.length === 0 ? [] : [toLine(example).slice(0, 300)]),
    ...kept.map((folder) => `  kept: ${folder}`),
  ].join("\n");
}

function toLine(example: unknown): string {
  return `  ${typeof example === "string" ? example : JSON.stringify(example)}`;
}

function list(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  return parts.length === 0 ? "0" : parts.join(", ");
}

/** Columns side by side. */
function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) => `  ${row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`.trimEnd()).join("\n");
}
