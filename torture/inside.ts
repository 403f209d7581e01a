import { writeSync } from "node:fs";
import type { FailPointName } from "./fail-points.ts";

/** Arms a fail point in a running bridge: it dies at so many passes from now. */
export interface Arming {
  readonly name: FailPointName;
  readonly passes: number;
}

/** What patches may call inside the bridge. */
interface Torture {
  /** Dies here where this fail point is armed and has been passed often enough. */
  pass(name: string): void;
  /** Waits here so many ms. */
  wait(ms: number): Promise<void>;
}

declare global {
  // oxlint-disable-next-line no-var -- only `var` declares a global.
  var torture: Torture;
}

let armed: { readonly name: string; passes: number } | null = null;
process.on("message", (arming: Arming) => {
  armed = { ...arming };
});
// The channel to the test is no reason to stay.
process.channel?.unref();

globalThis.torture = {
  pass: (name) => {
    if (armed?.name !== name || --armed.passes > 0) return;
    writeSync(2, `torture: killed at ${name}\n`);
    process.kill(process.pid, "SIGKILL");
    // Not a step further: the signal may take a moment.
    for (;;);
  },
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};
