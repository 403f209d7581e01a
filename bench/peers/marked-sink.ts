import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const PROCESS = fileURLToPath(new URL("./marked-sink-process.js", import.meta.url));

export type SinkQuestion = "count" | "arrivals" | Expectation;

/** The numbers of the events that count: `from` to `to - 1`. */
export interface Expectation {
  readonly from: number;
  readonly to: number;
}

/** The number of each event that came, and when it came first in ms since 1970; in order of arrival. */
export type Arrivals = readonly (readonly [number: number, atMs: number])[];

export interface MarkedCount {
  readonly requests: number;
  /** Events that came. */
  readonly distinct: number;
  /** Arrivals of events that had come before, or that are not expected any more. */
  readonly repeated: number;
  /** Arrivals of events with higher numbers than those that count. */
  readonly later: number;
}

/** An endpoint in a process of its own that knows events by their marks. */
export class MarkedSink {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}/`;
  }

  static async start(): Promise<MarkedSink> {
    const child = fork(PROCESS);
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    return new MarkedSink(child, port);
  }

  count(): Promise<MarkedCount> {
    return this.#ask("count");
  }

  arrivals(): Promise<Arrivals> {
    return this.#ask("arrivals");
  }

  /** Forgets all that came; from now on these events count. */
  async expect(expectation: Expectation): Promise<void> {
    await this.#ask(expectation);
  }

  close(): void {
    this.#child.kill("SIGKILL");
  }

  async #ask<T>(question: SinkQuestion): Promise<T> {
    const answer = once(this.#child, "message");
    this.#child.send(question);
    const [value] = (await answer) as [T];
    return value;
  }
}
