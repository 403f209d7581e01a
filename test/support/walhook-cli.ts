import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { eventually } from "./eventually.ts";

const CLI = fileURLToPath(new URL("../../dist/cli/walhook.cjs", import.meta.url));

/** What a finished command said. */
export interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A command that runs. */
export interface CliProcess {
  readonly child: ChildProcess;
  readonly lines: readonly string[];
  /** Waits for a line on standard error. */
  line(pattern: RegExp): Promise<string>;
  readonly ended: Promise<CliResult>;
}

/** Starts the built command line; options of this machine's environment stay out. */
export function startCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): CliProcess {
  const child = spawn(process.execPath, [CLI, ...args], { env: { PATH: process.env["PATH"], ...env } });
  let out = "";
  let err = "";
  const lines: string[] = [];
  child.stdout.on("data", (part: Buffer) => (out += part.toString()));
  child.stderr.on("data", (part: Buffer) => (err += part.toString()));
  createInterface({ input: child.stderr }).on("line", (line) => lines.push(line));
  const ended = new Promise<CliResult>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code: code ?? -1, out, err }));
  });
  return { child, lines, ended, line: (pattern) => eventually(() => lines.find((line) => pattern.test(line))) };
}

/** Runs a command to its end. */
export function runCli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CliResult> {
  return startCli(args, env).ended;
}
