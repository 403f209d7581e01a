import { within } from "./within.ts";

type Close = () => Promise<void> | void;

/** A statement of a part may wait for as long as somebody has a transaction open. */
const CLOSE_WITHIN_MS = 3_000;

/**
 * What was opened one after the other, to be closed the other way round.
 * (`AsyncDisposableStack` is that, from Node 24 on.)
 */
export class Parts {
  readonly #closers: Close[] = [];

  /** Takes a part and returns it. */
  keep<T extends { close: Close }>(part: T): T {
    this.#closers.push(() => part.close());
    return part;
  }

  /** Something else that has to be done at the end. */
  defer(close: Close): void {
    this.#closers.push(close);
  }

  /**
   * The last one first, each after the one before. One that fails, or takes longer than that, keeps none of the others open;
   * then the first error is thrown.
   */
  async close(withinMs: number = CLOSE_WITHIN_MS): Promise<void> {
    const errors: unknown[] = [];
    for (const close of this.#closers.toReversed()) {
      const closed = Promise.resolve()
        .then(close)
        .catch((error: unknown) => void errors.push(error));
      await within(withinMs, closed);
    }
    if (errors.length > 0) throw errors[0];
  }
}
