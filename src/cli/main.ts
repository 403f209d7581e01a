import { readConfig } from "../config.ts";
import { explain, WalhookError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { parseArguments } from "./arguments.ts";
import { COMMANDS } from "./commands.ts";
import { commandHelp, overview } from "./help.ts";
import { createLog } from "./log.ts";

/** Where a command line's words go. */
export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

/**
 * Runs one command line. Never throws: an error becomes what, where and what to do on standard error.
 * @returns the exit code
 */
export async function main(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  { out, err }: Streams,
): Promise<number> {
  try {
    const request = parseArguments(args, COMMANDS);
    if (request.kind === "version") {
      out(`${VERSION}\n`);
      return 0;
    }
    if (request.kind === "help") {
      out(request.command === null ? overview(COMMANDS, VERSION) : commandHelp(request.command));
      return 0;
    }
    const config = readConfig(request.flags, env, request.command.options.includes("databaseUrl"));
    return await request.command.run({
      config,
      switches: request.switches,
      values: request.flags,
      env,
      print: (line) => out(`${line}\n`),
      log: createLog(config, (line) => err(`${line}\n`)),
    });
  } catch (error) {
    const known = error instanceof WalhookError ? error : explain(error, "walhook");
    err(`walhook: ${known.message}\n`);
    if (known.hint !== null) err(`  ${known.hint}\n`);
    // What nobody foresaw is a bug: whoever reports it needs the stack.
    if (known.code === "unexpected" && known.cause instanceof Error) err(`${known.cause.stack}\n`);
    return known.exitCode;
  }
}
