/** Numbers that must be zero. */
export const ZEROES = [
  "lost",
  "phantom",
  "wrong content",
  "same id with another body",
  "another id for the same change",
  "log difference",
  "rollup difference",
  "order inversions",
  "stale backfills",
  "backfill rows missing",
  "replay difference",
  "signature failures",
  "dead letters",
  "not drained",
  "gaps found",
  "bridge crashes",
] as const;

export type Zero = (typeof ZEROES)[number];

const EXAMPLES = 5;

/** Counts what must not happen, and keeps the first few examples of each. */
export class Violations {
  readonly #counts = new Map<Zero, number>();
  readonly #examples = new Map<Zero, unknown[]>();

  add(zero: Zero, example: unknown): void {
    this.#counts.set(zero, this.count(zero) + 1);
    const examples = this.#examples.get(zero) ?? [];
    if (examples.length < EXAMPLES) examples.push(example);
    this.#examples.set(zero, examples);
  }

  /** Adds those of somebody else, whose examples are kept as well. */
  take(others: Violations): void {
    for (const zero of ZEROES) {
      const examples = others.examples[zero] ?? [];
      for (let i = 0; i < others.count(zero); i++) this.add(zero, examples[i]);
    }
  }

  count(zero: Zero): number {
    return this.#counts.get(zero) ?? 0;
  }

  get isEmpty(): boolean {
    return this.#counts.size === 0;
  }

  /** All numbers, zeroes too. */
  get counts(): Readonly<Record<Zero, number>> {
    return Object.fromEntries(ZEROES.map((zero) => [zero, this.count(zero)])) as Record<Zero, number>;
  }

  get examples(): Readonly<Partial<Record<Zero, readonly unknown[]>>> {
    return Object.fromEntries(this.#examples);
  }
}
