import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROOT } from "../../torture/root.ts";
import type { RunReport } from "../../torture/verdict/run-report.ts";
import { ZEROES, type Zero } from "../../torture/verdict/violations.ts";

/** Other choices: WALHOOK_TORTURE_SEED=7; longer: WALHOOK_TORTURE_SECONDS=120, or `npm run torture`. */
const SEED = Number(process.env["WALHOOK_TORTURE_SEED"] ?? 1);
const SECONDS = Number(process.env["WALHOOK_TORTURE_SECONDS"] ?? 30);

const TITLES: Readonly<Record<Zero, string>> = {
  lost: "every change that was committed is delivered",
  phantom: "nothing is delivered that was rolled back or never committed",
  "wrong content": "each delivery carries its row as it was committed",
  "same id with another body": "an id never comes with another body",
  "another id for the same change": "a change never comes with another id",
  "log difference": "the log has exactly one row `delivered` for each delivery",
  "rollup difference": "what is counted by minute and by hour is what the log holds",
  "order inversions": "no delivery arrives before an earlier one of its document was accepted",
  "stale backfills": "no row is sent by a backfill older than what was sent of it before",
  "backfill rows missing":
    "a backfill that is done has sent every row that was there, but where a newer change was sent",
  "replay difference": "what is replayed is what was delivered, each delivery once more, and all that were asked for",
  "signature failures": "every signature is right",
  "dead letters": "no delivery is given up while its receiver comes back",
  "not drained": "once nothing disturbs any more, everything ends",
  "gaps found": "no bridge finds that slot or publications are not as they were left",
  "bridge crashes": "no bridge ends but by a signal, in order, or because it was taken over",
};

describe(`two bridges, ${SECONDS} s of faults of all kinds, seed ${SEED}`, () => {
  let folder: string;
  let report: RunReport;
  beforeAll(
    async () => {
      folder = await mkdtemp(join(tmpdir(), "walhook-torture-report-"));
      const file = join(folder, "report.json");
      await node(join(ROOT, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.tools.json", "--noCheck");
      const size = ["--seconds", String(SECONDS), "--seed", String(SEED)];
      const output = await node(join(ROOT, "build", "tools", "torture", "main.js"), ...size, "--report", file);
      process.stderr.write(output);
      const { runs } = JSON.parse(await readFile(file, "utf8")) as { runs: [RunReport] };
      report = runs[0];
    },
    (SECONDS + 240) * 1000,
  );
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each(ZEROES.map((zero) => [TITLES[zero], zero] as const))("%s", (_, zero) => {
    expect(report.zeroes[zero], JSON.stringify(report.examples[zero])).toBe(0);
  });

  it("what is delivered twice was under way when a bridge's work ended, or a receiver took its answer back", () => {
    expect(report.duplicates).not.toHaveProperty("unexplained");
  });

  it("there was something to lose: changes by the thousand, backfills and replays, and a fault every other second", () => {
    expect(report.expected).toBeGreaterThan(1000);
    expect(report.repairs.backfills + report.repairs.replays).toBeGreaterThan(0);
    expect(Object.values(report.faults).reduce((sum, { count }) => sum + count, 0)).toBeGreaterThan(SECONDS / 4);
  });
});

/** Runs a program to its end, and returns what it said; how it ended shows in what it wrote. */
function node(...args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT });
    let output = "";
    child.stdout.on("data", (part: Buffer) => (output += part.toString()));
    child.stderr.on("data", (part: Buffer) => (output += part.toString()));
    child.once("error", reject);
    child.once("close", () => resolve(output));
  });
}
