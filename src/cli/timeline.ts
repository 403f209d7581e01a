import { HOPELESS_ATTEMPTS, HOPELESS_STATUS_CODES, MAX_JITTER } from "../deliver/retry.ts";
import { formatDuration } from "./duration.ts";

/**
 * A retry schedule as a table of lines: for each attempt, how long after the first one it comes at the earliest
 * and, with all its jitter, at the latest. How long attempts themselves take is not counted.
 *
 * @param delaysMs the delays before each further attempt
 */
export function timeline(delaysMs: readonly number[]): readonly string[] {
  let earliestMs = 0;
  let latestMs = 0;
  const rows = [
    ["attempt", "not before", "not after", "delay"],
    ["1", "at once", "at once", ""],
  ];
  for (const [index, delayMs] of delaysMs.entries()) {
    earliestMs += delayMs;
    latestMs += delayMs * (1 + MAX_JITTER);
    rows.push([String(index + 2), formatDuration(earliestMs), formatDuration(latestMs), formatDuration(delayMs)]);
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ")}`.trimEnd());
  return [
    ...lines,
    `  then it is a dead letter, ${formatDuration(earliestMs)} to ${formatDuration(latestMs)} after the first attempt`,
  ];
}

/** What else moves an attempt, for below the tables. */
export const EXCEPTIONS: readonly string[] = [
  "A receiver's Retry-After puts an attempt off, by a day at most; with 429 or 503 it holds the whole webhook.",
  `HTTP ${HOPELESS_STATUS_CODES.join(", ")}: ${HOPELESS_ATTEMPTS} attempts at most. HTTP 410: the webhook is disabled.`,
];
