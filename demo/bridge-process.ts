import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { createWriteStream, readFileSync, writeFileSync, type WriteStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const CLI = fileURLToPath(new URL("../dist/cli/walhook.cjs", import.meta.url));
const STOP_WITHIN_MS = 12_000;
const PID_FILE = "bridge.pid";

/** Runs a command of the command line to its end; rejects with what it said where it failed. */
export async function walhook(args: readonly string[], url: string): Promise<readonly string[]> {
  const child = start(args, url);
  const said: string[] = [];
  const listen = (stream: NodeJS.ReadableStream | null): void => {
    if (stream !== null) createInterface({ input: stream }).on("line", (line) => said.push(line));
  };
  listen(child.stdout);
  listen(child.stderr);
  const code = await exitOf(child);
  if (code !== 0) throw new Error(`walhook ${args.join(" ")} ended with exit code ${code}:\n${said.join("\n")}`);
  return said;
}

/** `walhook run` as a process of its own, as in production. */
export class BridgeProcess {
  readonly logFile: string;
  readonly #child: ChildProcess;
  readonly #log: WriteStream;
  readonly #exit: Promise<number>;
  #isStopping = false;

  /**
   * @param folder where its log and its process number are written
   * @param onUnexpectedEnd told the exit code where it ends without having been asked to
   */
  constructor(url: string, folder: string, onUnexpectedEnd: (code: number) => void) {
    this.logFile = join(folder, "bridge.log");
    this.#child = start(["run", "--log-level", "info"], url);
    writeFileSync(join(folder, PID_FILE), String(this.#child.pid));
    this.#log = createWriteStream(this.logFile, { flags: "a" });
    this.#child.stderr?.pipe(this.#log);
    this.#exit = exitOf(this.#child);
    this.#child.once("close", (code) => {
      if (!this.#isStopping) onUnexpectedEnd(code ?? 1);
    });
  }

  /** Resolves at the log's line that says that it runs; rejects where the process ends before. */
  async running(): Promise<void> {
    const { stderr } = this.#child;
    if (stderr === null) return;
    const lines = createInterface({ input: stderr });
    await new Promise<void>((resolve, reject) => {
      lines.on("line", (line) => {
        if (/ info {2}running/.test(line)) resolve();
      });
      void this.#exit.then((code) => reject(new Error(`walhook run ended with exit code ${code}`)));
    });
    lines.close();
    // Closing the reader paused the stream, from which the log still reads.
    stderr.resume();
  }

  /** Ends the bridge of a demo that was killed: it would compete for the slot. */
  static endLeftover(folder: string): void {
    try {
      const pid = readFileSync(join(folder, PID_FILE), "utf8");
      const command = execFileSync("ps", ["-o", "command=", "-p", pid], { encoding: "utf8" });
      if (command.includes(CLI)) process.kill(Number(pid), "SIGKILL");
    } catch {
      // No such file, or no such process.
    }
  }

  /** A graceful stop; the exit code. */
  async stop(): Promise<number> {
    this.#isStopping = true;
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_WITHIN_MS);
    const code = await this.#exit;
    clearTimeout(timer);
    return code;
  }
}

function start(args: readonly string[], url: string): ChildProcess {
  return spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, DATABASE_URL: url, REPLICATION_URL: "" },
    stdio: ["ignore", "pipe", "pipe"],
    // A process group of its own: Ctrl-C reaches the demo alone, which then stops everything in order.
    detached: true,
  });
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}
