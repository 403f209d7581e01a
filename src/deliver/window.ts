/**
 * How many deliveries may be open in memory at once. The pipe waits here before it matches more, so that
 * back-pressure reaches the socket instead of filling a buffer.
 */
export class Window {
  readonly #size: number;
  #open = 0;
  #waiting: (() => void)[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  /** Resolves at once while there is room. A chunk that comes in may overshoot by its own size. */
  async room(): Promise<void> {
    while (this.#open >= this.#size) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  take(count: number): void {
    this.#open += count;
  }

  release(count: number): void {
    this.#open -= count;
    if (this.#open >= this.#size) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }
}
