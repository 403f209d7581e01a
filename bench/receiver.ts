import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Answer, Behaviour, Instruction, Tally } from "./receiver-protocol.ts";

const PROCESS = fileURLToPath(new URL("./receiver-process.js", import.meta.url));

/** An endpoint in a process of its own, so that it takes no time from whoever measures. */
export class Receiver {
  readonly url: string;
  readonly #child: ChildProcess;
  /** One instruction at a time. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(): Promise<Receiver> {
    // What it remembers of a million deliveries is more than Node's default for young objects likes.
    const child = fork(PROCESS, { execArgv: ["--max-old-space-size=4096"] });
    const [answer] = (await once(child, "message")) as [Answer];
    if (answer.kind !== "listening") throw new Error("the receiver did not start");
    return new Receiver(child, answer.port);
  }

  async behave(as: Behaviour): Promise<void> {
    await this.#tell({ kind: "behave", as });
  }

  async reset(): Promise<void> {
    await this.#tell({ kind: "reset" });
  }

  async tally(): Promise<Tally> {
    const answer = await this.#tell({ kind: "report" });
    if (answer.kind !== "tally") throw new Error("the receiver answered something else");
    return answer.tally;
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }

  #tell(instruction: Instruction): Promise<Answer> {
    const answered = this.#last.then(async () => {
      const message = once(this.#child, "message");
      this.#child.send(instruction);
      const [answer] = (await message) as [Answer];
      return answer;
    });
    this.#last = answered.catch(() => {});
    return answered;
  }
}
