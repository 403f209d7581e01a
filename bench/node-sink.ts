import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { SinkCount } from "./sink-process.ts";

const PROCESS = fileURLToPath(new URL("./sink-process.js", import.meta.url));

/** An endpoint of ours that costs little, in a process of its own. */
export class NodeSink {
  readonly url: string;
  readonly name = "Node";
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(): Promise<NodeSink> {
    const child = fork(PROCESS);
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    return new NodeSink(child, port);
  }

  count(): Promise<SinkCount> {
    return this.#ask("count");
  }

  async reset(): Promise<void> {
    await this.#ask("reset");
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }

  async #ask(question: "count" | "reset"): Promise<SinkCount> {
    const answer = once(this.#child, "message");
    this.#child.send(question);
    const [count] = (await answer) as [SinkCount];
    return count;
  }
}
