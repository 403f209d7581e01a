import { pauseMs } from "./retry-after.ts";
import type { TransportResult } from "./transport.ts";

/** So many failures in a row, and a receiver is taken to be away or overloaded. */
const FAILURES_IN_A_ROW = 5;

/**
 * How many requests a receiver gets at once, learned from its answers: all it may have while it answers; one
 * at a time once it has failed several times in a row, or has asked for a pause; from there twice as many with
 * each success. So a receiver that comes back is not met by everything that waited for it.
 */
export class Pace {
  readonly #max: number;
  #limit: number;
  #failuresInRow = 0;
  #resumeAtMs = 0;
  #isGone = false;

  constructor(max: number) {
    this.#max = max;
    this.#limit = max;
  }

  /** Requests that may be under way at once. */
  get limit(): number {
    return this.#limit;
  }

  /** Whether nothing is known against the receiver. */
  get isFull(): boolean {
    return this.#limit === this.#max && this.#failuresInRow === 0 && !this.#isGone;
  }

  /** How long nothing may be sent, in ms; Infinity: until somebody changes the webhook. */
  pausedMs(nowMs: number): number {
    return this.#isGone ? Infinity : Math.max(0, this.#resumeAtMs - nowMs);
  }

  /** An attempt ended. */
  note(result: TransportResult, nowMs: number): void {
    if (isTrouble(result)) {
      if (++this.#failuresInRow >= FAILURES_IN_A_ROW) this.#limit = 1;
    } else {
      // What it refuses it has at least read: that is no reason to slow down.
      this.#failuresInRow = 0;
      this.#limit = Math.min(this.#max, this.#limit * 2);
    }
    if (result.kind === "response" && result.statusCode === 410) this.#isGone = true;
    const waitMs = pauseMs(result, nowMs);
    if (waitMs === null || waitMs === 0) return;
    this.#resumeAtMs = Math.max(this.#resumeAtMs, nowMs + waitMs);
    this.#limit = 1;
  }
}

/** No answer, or one that speaks of the receiver's own state and not of the request. */
function isTrouble(result: TransportResult): boolean {
  if (result.kind === "failure") return true;
  return result.statusCode >= 500 || result.statusCode === 408 || result.statusCode === 429;
}
