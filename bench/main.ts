import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../torture/root.ts";
import { deliveries } from "./deliveries.ts";
import { identity } from "./identity.ts";
import { idle } from "./idle.ts";
import { isolation } from "./isolation.ts";
import { largeRow } from "./large-row.ts";
import { largeTransaction } from "./large-transaction.ts";
import { describeMachine } from "./machine.ts";
import { latency } from "./latency.ts";
import { manyWebhooks } from "./many-webhooks.ts";
import { parked } from "./parked.ts";
import { reading } from "./reading.ts";
import { retention } from "./retention.ts";
import { restart } from "./restart.ts";
import { peers } from "./peers/peers.ts";
import { formatReport } from "./report.ts";
import type { Result, ResultFile } from "./result-file.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { takeover } from "./takeover.ts";
import { webhooks } from "./webhooks.ts";
import { widths } from "./widths.ts";
import { writeBenchmarks } from "./write-benchmarks.ts";
import { writers } from "./writers.ts";

const SCENARIOS: readonly Scenario[] = [
  deliveries,
  reading,
  latency,
  webhooks,
  widths,
  writers,
  identity,
  restart,
  isolation,
  retention,
  largeTransaction,
  parked,
  largeRow,
  manyWebhooks,
  takeover,
  idle,
  peers,
];

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // oxlint-disable-next-line unicorn/no-process-exit -- what is being measured does not end by itself.
  process.once(signal, () => void Stage.closeAll().finally(() => process.exit(130)));
}
process.exitCode = await main(process.argv.slice(2));

/** Exit codes: 0 measured, 1 something failed, 2 wrong usage; a goal that is not met is a result like another. */
async function main(args: readonly string[]): Promise<number> {
  const parsed = parse(args);
  if (typeof parsed === "string") {
    process.stdout.write(parsed === "" ? help() : `${parsed}\n\n${help()}`);
    return parsed === "" ? 0 : 2;
  }
  const { scenarios, values } = parsed;
  const { charts } = values;
  if (Array.isArray(charts)) {
    for (const file of await writeBenchmarks(ROOT, charts)) console.log(`written to ${file}`);
    return 0;
  }
  if (typeof values["pg"] === "string") Stage.useServer(values["pg"]);
  const machine = describeMachine();
  console.log(`${machine.date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}`);
  console.log(`Node ${machine.node}, Walhook ${machine.walhook}`);
  const results: Record<string, Result> = {};
  let exitCode = 0;
  for (const scenario of scenarios) {
    if (values["pg"] !== undefined && scenario.worksOnGivenServer !== true) {
      console.log(`\n${scenario.name}: left out, it needs a server of its own`);
      continue;
    }
    const options = optionsOf(scenario, values);
    console.log(`\n${scenario.name}: ${scenario.summary}`);
    console.log(
      `  ${Object.entries(options)
        .map(([flag, value]) => `--${flag} ${value}`)
        .join(" ")}`,
    );
    try {
      const context: ScenarioContext = {
        cli: resolve(String(values["cli"] ?? join(ROOT, "dist", "cli", "walhook.cjs"))),
        option: (flag) => options[flag] ?? Number.NaN,
        note: (text) => process.stderr.write(`  ${new Date().toISOString().slice(11, 19)} ${text}\n`),
      };
      const startedAt = performance.now();
      const report = await scenario.run(context);
      context.note(`took ${Math.round((performance.now() - startedAt) / 1000)} s`);
      results[scenario.name] = { summary: scenario.summary, options, report };
      console.log(`\n${formatReport(report)}`);
    } catch (error) {
      exitCode = 1;
      console.log(`failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }
  const out = resolve(
    String(values["out"] ?? join(ROOT, "build", "bench", `${machine.date.replaceAll(":", "-")}.json`)),
  );
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, `${JSON.stringify({ machine, results } satisfies ResultFile, null, 2)}\n`);
  console.log(`\nwritten to ${out}`);
  return exitCode;
}

type Values = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

function parse(args: readonly string[]): string | { readonly scenarios: readonly Scenario[]; readonly values: Values } {
  const flags = new Set(SCENARIOS.flatMap(({ options }) => Object.keys(options)));
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        quick: { type: "boolean" },
        help: { type: "boolean" },
        out: { type: "string" },
        cli: { type: "string" },
        pg: { type: "string" },
        charts: { type: "string", multiple: true },
        ...Object.fromEntries([...flags].map((flag) => [flag, { type: "string" as const }])),
      },
    });
    if (values.help === true) return "";
    const unknown = positionals.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
    if (unknown !== undefined) return `there is no scenario "${unknown}"`;
    const wrong = [...flags].find((flag) => flag in values && !(Number((values as Values)[flag]) >= 0));
    if (wrong !== undefined) return `--${wrong} takes a number`;
    const cli = (values as Values)["cli"];
    if (typeof cli === "string" && !existsSync(cli)) return `--cli: there is no file ${cli}`;
    const chosen = SCENARIOS.filter(({ name, isOnlyByName }) =>
      positionals.length === 0 ? isOnlyByName !== true : positionals.includes(name),
    );
    return { scenarios: chosen, values };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function optionsOf({ options }: Scenario, values: Values): Readonly<Record<string, number>> {
  const isQuick = values["quick"] === true;
  return Object.fromEntries(
    Object.entries(options).map(([flag, { full, quick }]) => [flag, Number(values[flag] ?? (isQuick ? quick : full))]),
  );
}

function help(): string {
  const scenarios = SCENARIOS.map(({ name, summary, options, isOnlyByName }) =>
    [
      `${isOnlyByName === true ? "*" : " "} ${name}: ${summary}`,
      ...Object.entries(options).map(
        ([flag, o]) => `      --${flag} <n>  ${o.help} (${o.full}, with --quick ${o.quick})`,
      ),
    ].join("\n"),
  );
  return `npm run bench -- [NAME...] [--quick] [--out FILE] [--cli FILE]

Measures; each scenario starts a PostgreSQL, endpoints and bridges of its own. Without a NAME:
all that is about speed; those marked by * only by their name.

  --quick      a first look, at a small scale
  --out FILE   where the figures go as JSON (build/bench/<date>.json)
  --pg URL     a server to use, as superuser, instead of one of each scenario's own; makes and drops a database "bench"
  --charts FILE  measures nothing: draws charts and writes docs/benchmarks.md from a result; may be repeated
  --cli FILE   another build of the command line than dist/cli/walhook.cjs

${scenarios.join("\n")}
`;
}
