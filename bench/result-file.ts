import { readFile } from "node:fs/promises";
import type { Machine } from "./machine.ts";
import type { Report } from "./report.ts";

/** What one run measured, as it is kept. */
export interface ResultFile {
  readonly machine: Machine;
  readonly results: Readonly<Record<string, Result>>;
}

export interface Result {
  readonly summary: string;
  readonly options: Readonly<Record<string, number>>;
  readonly report: Report;
}

/** A scenario's result with where and when it was measured. */
export interface DatedResult extends Result {
  readonly name: string;
  readonly machine: Machine;
}

/** The results of several files, in order; where a scenario is in more than one, the last. */
export async function readResults(files: readonly string[]): Promise<readonly DatedResult[]> {
  const found = new Map<string, DatedResult>();
  for (const file of files) {
    const { machine, results } = JSON.parse(await readFile(file, "utf8")) as ResultFile;
    for (const [name, result] of Object.entries(results)) found.set(name, { ...result, name, machine });
  }
  return [...found.values()];
}
