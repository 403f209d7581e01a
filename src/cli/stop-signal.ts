import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

type Signal = "SIGINT" | "SIGTERM";

/** How long a graceful stop may take, from the first signal. */
const STOP_WITHIN_MS = 10_000;
const SAME_WISH_MS = 500;

/** The wish of whoever runs the process that it ends. */
export interface StopSignal {
  /** Aborted at the first signal. */
  readonly signal: AbortSignal;
  /** Resolves at the first signal. */
  readonly requested: Promise<void>;
  /** Resolves to false 10 s after it. */
  readonly overdue: Promise<false>;
  /** Waits so long, or until the first signal. */
  sleep(ms: number): Promise<void>;
  /** Stops listening. */
  close(): void;
}

/**
 * Listens for SIGINT and SIGTERM: the first is a wish, told to `onFirst`; a second one ends the process at once with
 * the shell's exit code for that signal (130, 143).
 */
export function listenForStop(onFirst: (signal: Signal) => void): StopSignal {
  const controller = new AbortController();
  const { signal } = controller;
  let timer: NodeJS.Timeout | undefined;
  const expiry = new AbortController();
  let firstAt = 0;
  const listener = (name: Signal): void => {
    // A terminal's Ctrl-C reaches this process, and npx passes it on once more: that is one wish.
    if (signal.aborted && Date.now() - firstAt < SAME_WISH_MS) return;
    // oxlint-disable-next-line unicorn/no-process-exit -- the second signal means: now.
    if (signal.aborted) process.exit(128 + constants.signals[name]);
    firstAt = Date.now();
    timer = setTimeout(() => expiry.abort(), STOP_WITHIN_MS);
    onFirst(name);
    controller.abort();
  };
  process.on("SIGINT", listener);
  process.on("SIGTERM", listener);
  return {
    signal,
    requested: new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true })),
    overdue: new Promise((resolve) => expiry.signal.addEventListener("abort", () => resolve(false), { once: true })),
    sleep: (ms) => sleep(ms, undefined, { signal }).catch(() => {}),
    close: () => {
      clearTimeout(timer);
      process.off("SIGINT", listener);
      process.off("SIGTERM", listener);
    },
  };
}
