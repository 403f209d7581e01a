import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, readFileSync, type WriteStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import type { Arming } from "./inside.ts";
import { ROOT } from "../root.ts";

/** The module that changes the text of the bridge's files while they are loaded. */
const PATCHING = fileURLToPath(new URL("./patching.js", import.meta.url));
const CLI = join(ROOT, "dist", "cli", "walhook.cjs");
const LAST_LINES = 50;

export interface BridgeProcessOptions {
  readonly name: string;
  readonly databaseUrl: string;
  /** Everything that its processes say on standard error. */
  readonly logFile: string;
  /** Names of patches, see `patches.ts`. */
  readonly patches: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** It came to its end in a way that nobody asked for. */
  readonly onCrash: (crash: string) => void;
  /** What it was doing came to an end, with the process or without: what was under way is done again by somebody. */
  readonly onEnding: (reason: string) => void;
}

/** `walhook run`, started again whenever it ends, as a service manager does. */
export class BridgeProcess {
  readonly name: string;
  readonly #options: BridgeProcessOptions;
  #log: WriteStream | null = null;
  #child: ChildProcess | null = null;
  #isWanted = false;
  /** A signal that this test sent and that may end it. */
  #expected: NodeJS.Signals | null = null;
  #lines: string[] = [];
  #life: Promise<void> = Promise.resolve();
  #maxResidentMb = 0;

  constructor(options: BridgeProcessOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** The most memory that one of its processes had when it was asked for. */
  get maxResidentMb(): number {
    this.#maxResidentMb = Math.max(this.#maxResidentMb, residentMb(this.#child?.pid));
    return this.#maxResidentMb;
  }

  /** Starts it, and again whenever it has ended, until `stop`. */
  start(): void {
    this.#isWanted = true;
    this.#life = this.#live();
  }

  /** SIGKILL and SIGTERM may end it; whatever else ends it is a crash. */
  signal(signal: NodeJS.Signals): void {
    if (signal === "SIGKILL" || signal === "SIGTERM") this.#expected = signal;
    this.#child?.kill(signal);
  }

  /** What its present process has said last. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Makes it die or stand still at a fail point. */
  arm(arming: Arming): void {
    if (this.#child?.connected === true) this.#child.send(arming, () => {});
  }

  /** Ends it: in order, or where that takes too long, at once. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    this.#isWanted = false;
    this.signal(signal);
    const timer = setTimeout(() => this.signal("SIGKILL"), 15_000);
    await this.#life;
    clearTimeout(timer);
  }

  async #live(): Promise<void> {
    while (this.#isWanted) {
      await this.#runOnce();
      if (this.#isWanted) await sleep(100);
    }
  }

  async #runOnce(): Promise<void> {
    const { databaseUrl, patches, env } = this.#options;
    const child = spawn(process.execPath, ["--import", PATCHING, CLI, "run", "--log-format", "json"], {
      env: { PATH: process.env["PATH"], ...env, DATABASE_URL: databaseUrl, TORTURE_PATCHES: patches.join(",") },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    child.on("error", () => {});
    this.#child = child;
    this.#expected = null;
    this.#lines = [];
    if (child.stderr !== null) createInterface({ input: child.stderr }).on("line", (line) => this.#note(line));
    this.#log = createWriteStream(this.#options.logFile, { flags: "a" });
    const killNow = (): boolean => child.kill("SIGKILL");
    process.once("exit", killNow);
    await new Promise((resolve) => child.once("close", resolve));
    process.off("exit", killNow);
    this.#log.end();
    this.#judge(child);
  }

  #note(line: string): void {
    this.#log?.write(`${line}\n`);
    this.#lines.push(line);
    if (this.#lines.length > LAST_LINES) this.#lines.shift();
    const waiting = /"message":"waiting","code":"(\w+)"/.exec(line)?.[1];
    if (waiting !== undefined && waiting !== "slot_in_use") this.#options.onEnding(`waiting: ${waiting}`);
  }

  #judge({ exitCode, signalCode }: ChildProcess): void {
    const said = (text: string): boolean => this.#lines.some((line) => line.includes(text));
    const failPoint = this.#lines.map((line) => /^torture: SIGKILL (.*)$/.exec(line)?.[1]).find(Boolean);
    const { onEnding, onCrash } = this.#options;
    if (signalCode === "SIGKILL" && failPoint !== undefined) onEnding(`died ${failPoint}`);
    else if (signalCode !== null && signalCode === this.#expected) onEnding("killed");
    else if (this.#expected !== null && exitCode === 0) onEnding("stopped");
    // Told twice: then it ends at once.
    else if (this.#expected === "SIGTERM" && exitCode === 143) onEnding("stopped");
    // Told to stop while the database did not let it write: nothing is lost, the rest comes again.
    else if (this.#expected === "SIGTERM" && said("not stopped within 10 s")) onEnding("stopped too late");
    else if (said('"code":"fenced"')) onEnding("fenced");
    else onCrash(`${this.name} ended with ${signalCode ?? `exit code ${exitCode}`}:\n${this.#lines.join("\n")}`);
  }
}

/** The most memory that a process has had so far, in MB; 0 where the system does not say. */
function residentMb(pid: number | undefined): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
