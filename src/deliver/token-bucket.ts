/** A bucket holds so much of a second's tokens, so that no second sees many more than a second's. */
const BURST_SECONDS = 0.1;
/** So much ahead of their tokens, deliveries are brought from the queue. */
const AHEAD_SECONDS = 0.25;

/** Keeps to a rate: each request takes a token, and tokens come back at the rate. It starts full. */
export class TokenBucket {
  readonly perSecond: number;
  readonly #capacity: number;
  #tokens: number;
  #atMs: number;

  /** @param perSecond above 0; 0.1 is one in ten seconds */
  constructor(perSecond: number, nowMs: number) {
    this.perSecond = perSecond;
    this.#capacity = Math.max(1, perSecond * BURST_SECONDS);
    this.#tokens = this.#capacity;
    this.#atMs = nowMs;
  }

  /** How many deliveries may stand ready for the next tokens. */
  get ahead(): number {
    return Math.max(1, Math.floor(this.perSecond * AHEAD_SECONDS));
  }

  take(nowMs: number): void {
    this.#fill(nowMs);
    this.#tokens--;
  }

  /** 0 where there is one now. Rounded up to whole ms, so that who waits so long finds it. */
  msUntilToken(nowMs: number): number {
    this.#fill(nowMs);
    return this.#tokens >= 1 ? 0 : Math.ceil(((1 - this.#tokens) / this.perSecond) * 1_000);
  }

  isFull(nowMs: number): boolean {
    this.#fill(nowMs);
    return this.#tokens >= this.#capacity;
  }

  #fill(nowMs: number): void {
    // A clock that is set back gives nothing, and takes nothing away.
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#tokens = Math.min(this.#capacity, this.#tokens + (passedMs / 1_000) * this.perSecond);
    this.#atMs = nowMs;
  }
}
