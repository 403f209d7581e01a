import { readFile } from "node:fs/promises";
import { EXIT_CODES, WalhookError } from "../errors.ts";
import type { CommandContext, ValueFlag } from "./command.ts";

/** The flags by which a command is told its secrets. */
export const SECRET_FLAGS: readonly ValueFlag[] = [
  {
    flag: "secret",
    unit: "secret",
    help: "the secret; others on this machine can see it here, unlike in WEBHOOK_SECRET, which is the default",
  },
  { flag: "secret-file", unit: "path", help: "a file with the secret; a line end at its end is not part of it" },
];

/** The secret that the command was told, by a flag, a file or the environment; null: none. */
export async function readSecret({ values, env }: CommandContext): Promise<string | null> {
  if (values["secret"] !== undefined) return values["secret"];
  const file = values["secret-file"];
  if (file !== undefined) return (await readInput(file)).toString("utf8").replace(/\r?\n$/, "");
  return env["WEBHOOK_SECRET"] ?? null;
}

/** The bytes of a file; of standard input where the path is `-`. */
export async function readInput(path: string): Promise<Buffer> {
  if (path === "-") {
    const parts: Buffer[] = [];
    for await (const part of process.stdin) parts.push(part as Buffer);
    return Buffer.concat(parts);
  }
  try {
    return await readFile(path);
  } catch (error) {
    throw usageError(
      error instanceof Error ? error.message : String(error),
      "Name a file that is there, or - for standard input.",
    );
  }
}

/** A flag's whole number, or its default. */
export function readNumber(
  values: CommandContext["values"],
  flag: string,
  min: number,
  max: number,
  otherwise: number,
): number {
  const text = values[flag];
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw usageError(`--${flag} is "${text}"`, `Use a whole number, ${min} to ${max}.`);
}

/** A flag that takes one of several words, or its default. */
export function readChoice<Choice extends string>(
  values: CommandContext["values"],
  flag: string,
  choices: readonly Choice[],
  otherwise: Choice,
): Choice {
  const text = values[flag];
  if (text === undefined) return otherwise;
  const choice = choices.find((known) => known === text);
  if (choice !== undefined) return choice;
  throw usageError(`--${flag} is "${text}"`, `Use one of: ${choices.join(", ")}.`);
}

/** An error of the command line: exit code 2. */
export function usageError(message: string, hint: string): WalhookError {
  return new WalhookError(message, { code: "usage", exitCode: EXIT_CODES.usage, hint });
}

/** Runs what throws a SyntaxError for a secret that cannot be one; that is an error of the command line. */
export function orUsageError<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw usageError(
      error.message,
      "Give the secret that the webhook was given (walhook.webhook shows *** in its place), or a key of `walhook keys generate`.",
    );
  }
}
