import { setTimeout as sleep } from "node:timers/promises";
import type { Fault, Scenery } from "./fault.ts";

/** A fault that was injected. */
export interface Injected {
  readonly kind: string;
  readonly atMs: number;
  /** When nothing of it was left; null: not yet. */
  endedMs: number | null;
  /** What kept it from happening; null where it did. */
  error: string | null;
}

const MIN_GAP_MS = 1000;
const MAX_GAP_MS = 5000;

/** Injects faults, 1 to 5 s apart, until it is told to end. Those that last may overlap. */
export class FaultSchedule {
  readonly injected: Injected[] = [];
  readonly #scenery: Scenery;
  readonly #faults: readonly Fault[];
  readonly #ending = new AbortController();
  readonly #open = new Set<Promise<void>>();
  #work: Promise<void> = Promise.resolve();

  constructor(scenery: Scenery, faults: readonly Fault[]) {
    this.#scenery = scenery;
    this.#faults = faults;
  }

  start(): void {
    this.#work = this.#injectAll();
  }

  /** Injects nothing more; resolves when nothing of any fault is left. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#work;
    await Promise.all(this.#open);
  }

  async #injectAll(): Promise<void> {
    const { random } = this.#scenery;
    const { signal } = this.#ending;
    for (;;) {
      await sleep(random.between(MIN_GAP_MS, MAX_GAP_MS), undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      this.#inject(random.weighted(this.#faults));
    }
  }

  #inject(fault: Fault): void {
    const injected: Injected = { kind: fault.kind, atMs: Date.now(), endedMs: null, error: null };
    this.injected.push(injected);
    const open = fault
      .inject(this.#scenery)
      .catch((error: unknown) => {
        injected.error = error instanceof Error ? error.message : String(error);
      })
      .finally(() => {
        injected.endedMs = Date.now();
        this.#open.delete(open);
      });
    this.#open.add(open);
  }
}
