import { parseArgs } from "node:util";
import { OPTION_SPECS } from "../config.ts";
import type { Command } from "./command.ts";
import { usageError } from "./input.ts";
import { suggest } from "./suggest.ts";

/** What the command line asks for. */
export type Request =
  | { readonly kind: "help"; readonly command: Command | null }
  | { readonly kind: "version" }
  | {
      readonly kind: "run";
      readonly command: Command;
      /** Values by flag name. */
      readonly flags: Readonly<Record<string, string>>;
      readonly switches: ReadonlySet<string>;
    };

/**
 * Reads the command line: `walhook <command> [--flag value | --flag=value | --switch]…`.
 * @param args without `node` and the script
 * @throws WalhookError `usage` (exit code 2), with the nearest known word as suggestion
 */
export function parseArguments(args: readonly string[], commands: readonly Command[]): Request {
  const [first, ...rest] = args;
  if (first === undefined || first === "--help" || first === "-h" || first === "help") {
    const [topic, ...more] = first === "help" ? rest : [];
    return { kind: "help", command: topic === undefined ? null : findCommand(topic, more, commands).command };
  }
  if (first === "--version" || first === "-V") return { kind: "version" };
  if (first.startsWith("-")) {
    throw usageError(
      `the first word must be a command, not ${first}`,
      `Put it behind the command: walhook run ${first} …`,
    );
  }
  const found = findCommand(first, rest, commands);
  return parseFlags(found.command, found.rest);
}

/** A command's name has one word or two. */
function findCommand(
  first: string,
  rest: readonly string[],
  commands: readonly Command[],
): { readonly command: Command; readonly rest: readonly string[] } {
  const [second] = rest;
  const command = commands.find(({ name }) => name === first);
  if (command !== undefined) return { command, rest };
  const twofold = commands.find(({ name }) => name === `${first} ${second}`);
  if (twofold !== undefined) return { command: twofold, rest: rest.slice(1) };
  const names = commands.map(({ name }) => name);
  const isGroup = names.some((name) => name.startsWith(`${first} `));
  const typed = isGroup && second !== undefined && !second.startsWith("-") ? `${first} ${second}` : first;
  const group = names.filter((name) => name.startsWith(`${first} `));
  if (isGroup && typed === first) throw usageError(`"${first}" is half of a command`, `Commands: ${group.join(", ")}.`);
  throw usageError(`unknown command "${typed}"`, didYouMean(suggest(typed, names), `Commands: ${names.join(", ")}.`));
}

function parseFlags(command: Command, args: readonly string[]): Request {
  const valued = [
    ...command.options.map((name) => OPTION_SPECS[name].flag),
    ...(command.values ?? []).map((known) => known.flag),
  ];
  const switches = command.switches.map((known) => known.flag);
  // Not strict: parseArgs' own errors know no suggestion. The tokens tell what was typed.
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: {
      ...Object.fromEntries(valued.map((flag) => [flag, { type: "string" as const }])),
      ...Object.fromEntries([...switches, "help"].map((flag) => [flag, { type: "boolean" as const }])),
      help: { type: "boolean", short: "h" },
    },
  });
  const flags: Record<string, string> = {};
  const given = new Set<string>();
  for (const token of tokens) {
    if (token.kind === "positional" && command.operand !== undefined && flags[command.operand.unit] === undefined) {
      flags[command.operand.unit] = token.value;
      continue;
    }
    if (token.kind === "positional") throw usageError(`"${token.value}" is one word too many`, helpHint(command));
    if (token.kind === "option-terminator") continue;
    if (token.name === "help") return { kind: "help", command };
    if (switches.includes(token.name)) {
      if (token.value !== undefined) throw usageError(`--${token.name} takes no value`, helpHint(command));
      given.add(token.name);
    } else if (valued.includes(token.name)) {
      if (token.value === undefined || (token.value.startsWith("--") && !token.inlineValue)) {
        throw usageError(`--${token.name} needs a value`, helpHint(command));
      }
      if (token.name in flags) throw usageError(`--${token.name} is given twice`, helpHint(command));
      flags[token.name] = token.value;
    } else {
      const nearest = suggest(token.name, [...valued, ...switches, "help"]);
      throw usageError(
        `walhook ${command.name} knows no option ${token.rawName}`,
        didYouMean(nearest === null ? null : `--${nearest}`, helpHint(command)),
      );
    }
  }
  return { kind: "run", command, flags, switches: given };
}

function didYouMean(nearest: string | null, otherwise: string): string {
  return nearest === null ? otherwise : `Did you mean ${nearest}?`;
}

function helpHint(command: Command): string {
  return `See walhook ${command.name} --help.`;
}
