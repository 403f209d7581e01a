import { writeSync } from "node:fs";
import type { FailPointName } from "./fail-points.ts";

/** Arms a fail point in a running bridge: at so many passes from now it dies, or stands still until SIGCONT. */
export interface Arming {
  readonly name: FailPointName;
  readonly passes: number;
  readonly signal: "SIGKILL" | "SIGSTOP";
}

/** What patches may call inside the bridge. */
interface Torture {
  /** Does what was armed for this fail point, where it has been passed often enough. */
  pass(name: string): void;
  /** Waits here so many ms. */
  wait(ms: number): Promise<void>;
}

declare global {
  // oxlint-disable-next-line no-var -- only `var` declares a global.
  var torture: Torture;
}

/** What is armed, and how many passes are left. */
const armed = new Map<string, Arming>();
process.on("message", (arming: Arming) => armed.set(arming.name, arming));
// The channel to the test is no reason to stay.
process.channel?.unref();

globalThis.torture = {
  pass: (name) => {
    const arming = armed.get(name);
    if (arming === undefined) return;
    const { signal, passes } = arming;
    if (passes > 1) {
      armed.set(name, { ...arming, passes: passes - 1 });
      return;
    }
    armed.delete(name);
    writeSync(2, `torture: ${signal} ${name}\n`);
    process.kill(process.pid, signal);
    // Not a step further: the signal may take a moment.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  },
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};
