import { writeFile } from "node:fs/promises";
import { HELP, parseOptions, type TortureOptions } from "./options.ts";
import { formatRun } from "./report-text.ts";
import { run } from "./run.ts";
import type { RunReport } from "./run-report.ts";

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let options: TortureOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
    return 2;
  }
  return torture(options);
}

async function torture({ seed, seeds, seconds, report }: TortureOptions): Promise<number> {
  const runs: RunReport[] = [];
  for (let i = 0; i < seeds; i++) {
    console.log(`seed ${seed + i}, ${seconds} s`);
    runs.push(await run({ seed: seed + i, seconds }));
    console.log(`${formatRun(runs.at(-1)!)}\n`);
    if (report !== null) await writeFile(report, `${JSON.stringify({ runs }, null, 2)}\n`);
  }
  return runs.every(({ zeroes }) => Object.values(zeroes).every((count) => count === 0)) ? 0 : 1;
}
