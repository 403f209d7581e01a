import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const PROCESS = fileURLToPath(new URL("./writer-process.js", import.meta.url));

export interface WriterOrder {
  readonly url: string;
  /** Transactions a second. */
  readonly rate: number;
  /** Run in turn; `$1` is a number that grows by one each time. */
  readonly statements: readonly string[];
  /** The first number. */
  readonly from: number;
}

export interface WriterTotals {
  readonly committed: number;
  /** The number after the last one that was used. */
  readonly next: number;
  readonly seconds: number;
  /** How many transactions the writer was late with at worst: large where the server is the bottleneck. */
  readonly mostBehind: number;
  readonly failure: string | null;
}

/** An application that writes at a steady rate, in a process of its own. */
export class Writer {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(order: WriterOrder): Promise<Writer> {
    const child = fork(PROCESS, [JSON.stringify(order)]);
    await once(child, "message");
    return new Writer(child);
  }

  /** Waits for what is under way; throws where a statement failed. */
  async stop(): Promise<WriterTotals> {
    const message = once(this.#child, "message");
    this.#child.send("stop");
    const [totals] = (await message) as [WriterTotals];
    if (totals.failure !== null) throw new Error(`the writer failed: ${totals.failure}`);
    return totals;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
