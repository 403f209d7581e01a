/** Lets those with the same number do something one after the other. */
export class Turns {
  readonly #last = new Map<number, Promise<unknown>>();

  async take<T>(of: number, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(of) ?? Promise.resolve();
    const mine = before.then(work, work);
    this.#last.set(of, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(of) === mine) this.#last.delete(of);
    }
  }
}
