/**
 * How many deliveries may be open in memory at once, and how many bytes they may hold. The pipe waits here before it
 * matches and renders more, so that back-pressure reaches the socket instead of filling a buffer.
 */
export class Window {
  readonly #maxOpen: number;
  readonly #maxBytes: number;
  #open = 0;
  #bytes = 0;
  /** What was taken and not yet released, oldest first: chunks leave in the order in which they came. */
  readonly #taken: { count: number; readonly bytes: number }[] = [];
  #waiting: (() => void)[] = [];

  constructor(maxOpen: number, maxBytes: number) {
    this.#maxOpen = maxOpen;
    this.#maxBytes = maxBytes;
  }

  /** Resolves at once while there is room. What comes in then may overshoot by its own size. */
  async room(): Promise<void> {
    while (!this.#hasRoom()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  take(count: number, bytes: number): void {
    if (count === 0) return;
    this.#open += count;
    this.#bytes += bytes;
    this.#taken.push({ count, bytes });
  }

  /** The oldest `count` deliveries are dealt with; bytes are free once all that were taken with them are. */
  release(count: number): void {
    this.#open -= count;
    for (let left = count, oldest = this.#taken[0]; left > 0 && oldest !== undefined; oldest = this.#taken[0]) {
      const released = Math.min(left, oldest.count);
      left -= released;
      oldest.count -= released;
      if (oldest.count > 0) break;
      this.#bytes -= oldest.bytes;
      this.#taken.shift();
    }
    if (!this.#hasRoom()) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  #hasRoom(): boolean {
    return this.#open < this.#maxOpen && this.#bytes < this.#maxBytes;
  }
}
