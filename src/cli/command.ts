import type { Config, OptionName } from "../config.ts";
import type { Log } from "./log.ts";

/** A flag of one command that has no value and no variable. */
export interface Switch {
  readonly flag: string;
  readonly help: string;
}

/** A flag of one command that has a value and no variable. */
export interface ValueFlag {
  readonly flag: string;
  /** What the value is, as `--help` shows it. */
  readonly unit: string;
  readonly help: string;
}

/** What a command works with. */
export interface CommandContext {
  readonly config: Config;
  /** Flags of `Command.switches` that were given. */
  readonly switches: ReadonlySet<string>;
  /** Values of flags that were given, by flag; those of `Command.values` among them. */
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Prints one line for whoever runs the command, on standard output. */
  readonly print: (line: string) => void;
  /** What happens while it runs, on standard error. */
  readonly log: Log;
}

/** One command: all that `--help`, the parser and `main` need to know about it. */
export interface Command {
  /** One word, or two: `keys generate`. */
  readonly name: string;
  readonly summary: string;
  /** Paragraphs for `walhook <command> --help`. */
  readonly description: readonly string[];
  /** One word that is no flag; its value stands in `CommandContext.values` under its unit. */
  readonly operand?: { readonly unit: string; readonly help: string };
  /** Without `databaseUrl` it needs no database. */
  readonly options: readonly OptionName[];
  readonly switches: readonly Switch[];
  readonly values?: readonly ValueFlag[];
  readonly examples: readonly string[];
  /** Exit codes beyond those that every command has. */
  readonly exitCodes: readonly string[];
  /** Does the work. Resolves to the exit code; a `WalhookError` carries its own. */
  readonly run: (context: CommandContext) => Promise<number>;
}
