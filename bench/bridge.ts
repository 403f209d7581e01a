import { spawn, type ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { cpuSeconds, peakResidentMb, residentMb } from "./process-facts.ts";

const STOP_WITHIN_MS = 12_000;
const SAMPLE_EVERY_MS = 100;

export interface BridgeOrder {
  readonly cli: string;
  readonly url: string;
  readonly replicationUrl?: string;
  /** Further flags of `walhook run`. */
  readonly flags?: readonly string[];
  readonly logFile: string;
}

/** `walhook run` as a process of its own, its memory watched. */
export class Bridge {
  readonly pid: number;
  readonly startedAtMs: number = Date.now();
  readonly #child: ChildProcess;
  readonly #exit: Promise<number | null>;
  readonly #sampler: NodeJS.Timeout;
  #maxMb = 0;

  constructor({ cli, url, replicationUrl = "", flags = [], logFile }: BridgeOrder) {
    this.#child = spawn(process.execPath, [cli, "run", "--log-level", "info", ...flags], {
      env: { ...process.env, DATABASE_URL: url, REPLICATION_URL: replicationUrl },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.pid = this.#child.pid ?? 0;
    this.#child.stderr?.pipe(createWriteStream(logFile, { flags: "a" }));
    this.#exit = new Promise((resolve) => this.#child.once("exit", (code) => resolve(code)));
    this.#sampler = setInterval(() => this.#sample(), SAMPLE_EVERY_MS);
    void this.#exit.then(() => clearInterval(this.#sampler));
  }

  /** Resolves when it says that it runs; rejects where it ends before. */
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

  get residentMb(): number {
    return residentMb(this.pid);
  }

  /** The most memory it had since the start, or since `forgetMemory`, in MB. */
  get maxResidentMb(): number {
    this.#sample();
    return this.#maxMb;
  }

  /** The most memory it ever had, in MB: the kernel's own figure where there is one. */
  get peakResidentMb(): number {
    return peakResidentMb(this.pid) ?? this.maxResidentMb;
  }

  get cpuSeconds(): number | null {
    return cpuSeconds(this.pid);
  }

  forgetMemory(): void {
    this.#maxMb = 0;
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** The exit code, once it is over; null where a signal ended it. */
  get ended(): Promise<number | null> {
    return this.#exit;
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exit;
  }

  /** A graceful stop; the exit code. */
  async stop(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_WITHIN_MS);
    const code = await this.#exit;
    clearTimeout(timer);
    return code;
  }

  #sample(): void {
    this.#maxMb = Math.max(this.#maxMb, residentMb(this.pid));
  }
}
