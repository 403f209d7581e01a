import { statSync } from "node:fs";
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

/** How long a fault has to itself before the next one, in ms; those that last may overlap. */
export interface Gap {
  readonly leastMs: number;
  readonly mostMs: number;
}

/** How often a fault waits until the one before is overcome: who is never well is not disturbed either. */
const MERCY = 0.7;
const MERCY_MS = 8000;

/** Injects faults in rounds, all of them in a new order each time, until it is told to end. */
export class FaultSchedule {
  readonly injected: Injected[] = [];
  readonly #scenery: Scenery;
  readonly #faults: readonly Fault[];
  readonly #gap: Gap;
  readonly #ending = new AbortController();
  readonly #open = new Set<Promise<void>>();
  #work: Promise<void> = Promise.resolve();

  constructor(scenery: Scenery, faults: readonly Fault[], gap: Gap) {
    this.#scenery = scenery;
    this.#faults = faults.flatMap((fault) => Array.from({ length: fault.copies }, () => fault));
    this.#gap = gap;
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
    while (this.#faults.length > 0) {
      for (const fault of random.shuffled(this.#faults)) {
        await sleep(random.between(this.#gap.leastMs, this.#gap.mostMs), undefined, { signal }).catch(() => {});
        if (random.chance(MERCY)) await this.#deliveryAfterLast();
        if (signal.aborted) return;
        this.#inject(fault);
      }
    }
  }

  /** Waits for a sign that the last fault is overcome. */
  async #deliveryAfterLast(): Promise<void> {
    const { arrivals } = this.#scenery.world;
    const lastMs = this.injected.at(-1)?.atMs ?? 0;
    const deadline = Date.now() + MERCY_MS;
    while (statSync(arrivals).mtimeMs <= lastMs && Date.now() < deadline && !this.#ending.signal.aborted)
      await sleep(50);
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
