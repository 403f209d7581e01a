/** Does the same again and again, with a pause before each time, until it is closed or fails. */
export class Poll {
  readonly #work: () => Promise<void>;
  readonly #pauseMs: (tookMs: number) => number;
  readonly #onFailure: (error: unknown) => void;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  #working: Promise<void> = Promise.resolve();

  /**
   * @param pauseMs the pause after a time that took so long
   * @param onFailure told what it has failed with, once: nothing more is done then
   */
  constructor(work: () => Promise<void>, pauseMs: (tookMs: number) => number, onFailure: (error: unknown) => void) {
    this.#work = work;
    this.#pauseMs = pauseMs;
    this.#onFailure = onFailure;
  }

  start(): void {
    this.#schedule(0);
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#working;
  }

  #schedule(tookMs: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#working = this.#once();
    }, this.#pauseMs(tookMs));
  }

  async #once(): Promise<void> {
    const startedAt = performance.now();
    try {
      await this.#work();
    } catch (error) {
      if (!this.#isClosed) this.#onFailure(error);
      return;
    }
    this.#schedule(performance.now() - startedAt);
  }
}
