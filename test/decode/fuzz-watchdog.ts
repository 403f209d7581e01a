import { Worker } from "node:worker_threads";

/** A case takes well below a millisecond. */
const HANGS_AFTER_MS = 10_000;

const CODE = `
const { workerData, parentPort } = require("node:worker_threads");
const state = new Int32Array(workerData.state);
let last = -1;
setInterval(() => {
  const seed = Atomics.load(state, 0);
  if (seed > 0 && seed === last) {
    require("node:fs").writeSync(2, "seed " + seed + " hangs\\n");
    process.kill(process.pid, "SIGKILL");
  }
  last = seed;
}, workerData.everyMs);
`;

/** Ends the process where a synchronous case hangs, which no timeout of a test runner can, and says its seed. */
export class Watchdog {
  readonly #state = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker = new Worker(CODE, {
    eval: true,
    workerData: { state: this.#state.buffer, everyMs: HANGS_AFTER_MS },
  });

  begin(seed: number): void {
    Atomics.store(this.#state, 0, seed);
  }

  rest(): void {
    Atomics.store(this.#state, 0, 0);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}
