import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { ReceiverMode } from "./arrival.ts";
import type { ReceiverOrder } from "./receiver-process.ts";

const PROCESS = fileURLToPath(new URL("./receiver-process.js", import.meta.url));

/** The receiver, a process of its own. */
export class Receiver {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}`;
  }

  /** @param file where it writes down what arrives */
  static async start(file: string, secret: string): Promise<Receiver> {
    const child = fork(PROCESS, [file, secret]);
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    return new Receiver(child, port);
  }

  /** From now on it behaves so to one webhook. */
  behave(webhook: string, mode: ReceiverMode): void {
    this.#tell({ kind: "behave", webhook, mode });
  }

  /** Refuses connections, or takes them again. */
  listen(isOpen: boolean): void {
    this.#tell({ kind: "listen", isOpen });
  }

  async close(): Promise<void> {
    const isGone = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await isGone;
  }

  #tell(order: ReceiverOrder): void {
    this.#child.send(order);
  }
}
