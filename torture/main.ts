import { writeFile } from "node:fs/promises";
import { help, parseOptions, type TortureOptions } from "./options.ts";
import { MUTANT_NAMES } from "./mutants/mutant-scenarios.ts";
import { MutationCheck, type MutantReport } from "./mutants/mutation-check.ts";
import { formatMutant, formatRun } from "./verdict/report-text.ts";
import { run } from "./run.ts";
import type { RunReport } from "./verdict/run-report.ts";

// What was started ends with this process.
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));
process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(help());
    return 0;
  }
  let options: TortureOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${help()}`);
    return 2;
  }
  return options.mutants === null ? torture(options) : checkMutants(options.mutants, options.report);
}

async function torture({ seed, seeds, seconds, faults, isKept, report }: TortureOptions): Promise<number> {
  const runs: RunReport[] = [];
  for (let i = 0; i < seeds; i++) {
    console.log(`seed ${seed + i}, ${seconds} s`);
    runs.push(await run({ seed: seed + i, seconds, faults, isKept }));
    console.log(`${formatRun(runs.at(-1)!)}\n`);
    if (report !== null) await writeFile(report, `${JSON.stringify({ runs }, null, 2)}\n`);
  }
  return runs.every(({ zeroes }) => Object.values(zeroes).every((count) => count === 0)) ? 0 : 1;
}

async function checkMutants(named: readonly string[], report: string | null): Promise<number> {
  const names = named.length === 0 ? MUTANT_NAMES : named;
  const check = new MutationCheck();
  const mutants: MutantReport[] = [];
  for (const name of names) {
    mutants.push(await check.check(name));
    console.log(formatMutant(mutants.at(-1)!));
    if (report !== null) await writeFile(report, `${JSON.stringify({ mutants }, null, 2)}\n`);
  }
  const good = mutants.filter(({ caughtBy, control }) => caughtBy.length > 0 && control.length === 0);
  console.log(`${good.length} of ${mutants.length} mutants caught`);
  return good.length === mutants.length ? 0 : 1;
}
