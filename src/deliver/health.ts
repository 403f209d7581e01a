import { CLOSED, type Breaker } from "./breaker.ts";

/** In a word: fine; its attempts fail; its breaker opened and it has not recovered since; disabled by itself. */
export type HealthState = "ok" | "failing" | "opened" | "disabled";

/** So many attempts that failed one after the other make a webhook a failing one. */
const FAILING_AFTER = 5;
/** Nobody is disabled for fewer. */
const DISABLED_AFTER = 20;

/** How the deliveries of one webhook do: what `walhook.webhook_state` shows of it. */
export class Health {
  state: HealthState = "ok";
  breaker: Breaker = CLOSED;
  /** Attempts that failed since the last that succeeded. */
  failures = 0;
  firstFailureAtMs: number | null = null;
  lastFailureAtMs: number | null = null;
  lastFailure: string | null = null;
  lastDeliveredAtMs: number | null = null;

  /** An attempt succeeded, which left the breaker like this. */
  delivered(breaker: Breaker, nowMs: number): void {
    this.breaker = breaker;
    this.failures = 0;
    this.firstFailureAtMs = null;
    this.lastDeliveredAtMs = nowMs;
    this.#recover();
  }

  /** An attempt failed. */
  failed(breaker: Breaker, error: string, nowMs: number): void {
    this.breaker = breaker;
    this.failures++;
    this.firstFailureAtMs ??= nowMs;
    this.lastFailureAtMs = nowMs;
    this.lastFailure = error;
    if (this.state === "disabled") return;
    // A pause that the receiver has asked for is no trouble yet.
    if (breaker.kind === "open" && breaker.openings > 0) this.state = "opened";
    else if (this.state === "ok" && this.failures >= FAILING_AFTER) this.state = "failing";
  }

  /** The breaker closed though nothing was sent: time went by, or the webhook was changed. */
  closed(): void {
    this.breaker = CLOSED;
    this.#recover();
  }

  /** Whether it has failed for so long that it has to be disabled. */
  isHopeless(disableAfterMs: number | null, nowMs: number): boolean {
    if (disableAfterMs === null || this.firstFailureAtMs === null || this.state === "disabled") return false;
    return this.failures >= DISABLED_AFTER && nowMs - this.firstFailureAtMs >= disableAfterMs;
  }

  /** It was enabled by somebody: what failed before counts no more. */
  enabled(): void {
    this.breaker = CLOSED;
    this.failures = 0;
    this.firstFailureAtMs = null;
    if (this.state === "disabled") this.state = "ok";
  }

  /** Recovered: the last attempt succeeded, and the breaker has closed. */
  #recover(): void {
    const isTroubled = this.state === "failing" || this.state === "opened";
    if (isTroubled && this.failures === 0 && this.breaker.kind === "closed") this.state = "ok";
  }
}
