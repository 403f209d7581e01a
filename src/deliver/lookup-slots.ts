/** A lookup that takes longer holds a thread that others may need: a name server that does not answer, mostly. */
export const SLOW_AFTER_MS = 1_000;

/** Names whose standing is remembered; one that was forgotten is new again. */
const MAX_KNOWN = 10_000;

/** What the last lookup of a name says of the next one: answered at once, whatever the answer; none yet; not at once. */
export type Standing = "prompt" | "new" | "slow";

/** The order in which waiting names are looked up. */
export const STANDINGS: readonly Standing[] = ["prompt", "new", "slow"];

/**
 * How many names may be looked up at once. A lookup cannot be cancelled, so names that may hold their thread get only a part
 * of the threads: the rest is for names that answered at once the last time, and one thread for what else the process
 * looks up, such as its database.
 */
export class LookupSlots {
  readonly #max: number;
  readonly #maxUnproven: number;
  readonly #maxOf: Readonly<Record<Standing, number>>;
  readonly #taken: Record<Standing, number> = { prompt: 0, new: 0, slow: 0 };
  /** The least recently looked up first. */
  readonly #known = new Map<string, Standing>();

  /** @param threads how many lookups the process can make at once, 1 at least */
  constructor(threads: number) {
    // Of two threads both are used: one that is left for others would be taken from names that answer in milliseconds.
    this.#max = threads > 2 ? threads - 1 : threads;
    this.#maxUnproven = Math.max(1, Math.min(Math.floor((threads * 3) / 4), this.#max - 1));
    // Neither may names that never answer keep a new one waiting, nor many new ones those that may have recovered. More
    // are for new names: after a start all are.
    const slow = Math.max(1, Math.floor(threads / 4));
    this.#maxOf = { slow, new: Math.max(1, this.#maxUnproven - slow), prompt: this.#max };
  }

  standingOf(host: string): Standing {
    return this.#known.get(host) ?? "new";
  }

  isFree(standing: Standing): boolean {
    const { prompt, new: fresh, slow } = this.#taken;
    if (prompt + fresh + slow >= this.#max) return false;
    return standing === "prompt" || (fresh + slow < this.#maxUnproven && this.#taken[standing] < this.#maxOf[standing]);
  }

  take(standing: Standing): void {
    this.#taken[standing]++;
  }

  /** Gives the slot back that was taken for this name, and remembers how long that was. */
  release(standing: Standing, host: string, tookMs: number): void {
    this.#taken[standing]--;
    this.#known.delete(host);
    this.#known.set(host, tookMs > SLOW_AFTER_MS ? "slow" : "prompt");
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_KNOWN) this.#known.delete(oldest!);
  }
}
