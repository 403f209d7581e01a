import { parseArgs } from "node:util";
import { FAULTS } from "./faults/faults.ts";
import { MUTANT_NAMES } from "./mutants/mutant-scenarios.ts";

export interface TortureOptions {
  readonly seed: number;
  /** How many seeds, from `seed` on. */
  readonly seeds: number;
  /** How long each seed is worked on, without the drain. */
  readonly seconds: number;
  /** Only faults whose kind contains this; null: all. */
  readonly faults: string | null;
  /** Where the report is written as JSON. */
  readonly report: string | null;
  /** Data and logs of each run stay also where all is well. */
  readonly isKept: boolean;
  /** Names of mutants to be caught; empty: all of them; null: none, torture instead. */
  readonly mutants: readonly string[] | null;
}

const HELP = `npm run torture -- [--seed N] [--seeds K] [--minutes M | --seconds S] [--faults TEXT] [--keep]
                   [--report FILE.json]
npm run torture -- --mutants [NAME…] [--report FILE.json]

Works on a bridge with changes and faults, then compares what was committed, what arrived and what was logged.
  --seed     what chooses changes and faults (default: the time); printed
  --seeds    how many runs, each with the next seed (default 1)
  --minutes  how long a run disturbs, without the drain at its end (default 2)
  --faults   only those whose name contains this text, see below
  --keep     keeps data and logs of every run; else only where something was not as it must be
  --report   also writes the report there
  --mutants  puts known mistakes back, one at a time, and sees that each is noticed
Exit codes: 0 all zeroes are zero and all mutants were caught, 1 not so, 2 wrong usage.
`;

/** What the command line may say, with the names of faults and mutants. */
export function help(): string {
  const list = (names: readonly string[]): string => names.map((name) => `  ${name}\n`).join("");
  return `${HELP}Faults ("none" for none of them):\n${list(FAULT_KINDS)}Mutants:\n${list(MUTANT_NAMES)}`;
}

const FAULT_KINDS = FAULTS.map(({ kind }) => kind);

/** Reads the command line. Throws a TypeError on what it does not know. */
export function parseOptions(args: readonly string[]): TortureOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      minutes: { type: "string" },
      seconds: { type: "string" },
      report: { type: "string" },
      faults: { type: "string" },
      keep: { type: "boolean" },
      mutants: { type: "boolean" },
    },
  });
  const { faults = null } = values;
  if (faults !== null && faults !== "none" && !FAULT_KINDS.some((kind) => kind.includes(faults))) {
    throw new TypeError(`there is no fault "${faults}"`);
  }
  const unknown = positionals.find((name) => !MUTANT_NAMES.includes(name));
  if (values.mutants === true && unknown !== undefined) throw new TypeError(`there is no mutant "${unknown}"`);
  if (values.mutants !== true && positionals.length > 0) throw new TypeError(`unexpected: ${positionals.join(" ")}`);
  return {
    seed: numberOf("seed", values.seed) ?? Math.floor(Date.now() / 1000) % 1_000_000,
    seeds: numberOf("seeds", values.seeds) ?? 1,
    seconds: numberOf("seconds", values.seconds) ?? (numberOf("minutes", values.minutes) ?? 2) * 60,
    faults,
    report: values.report ?? null,
    isKept: values.keep === true,
    mutants: values.mutants === true ? positionals : null,
  };
}

function numberOf(name: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const number = Number(text);
  if (!(number >= 0)) throw new TypeError(`--${name} takes a number, not "${text}"`);
  return number;
}
