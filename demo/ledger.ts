import type { Received } from "./receiver.ts";

/** A delivery that a committed change must lead to. */
export interface Expectation {
  readonly webhook: string;
  readonly event: string;
  /** The document's name as Walhook spells it: the key as text; a JSON array where it has several columns. */
  readonly document: string;
}

/**
 * Compares what was committed with what arrived. Both sides are counted by webhook, event and document, so a
 * webhook may come before its commit is known here.
 */
export class Ledger {
  /** Expected minus arrived, by key. */
  readonly #balance = new Map<string, number>();
  readonly #ids = new Set<string>();
  #committed = 0;
  #requests = 0;
  #refused = 0;
  #badSignatures = 0;
  #repeated = 0;
  readonly #latenciesMs: number[] = [];

  expect(expectations: readonly Expectation[]): void {
    this.#committed += expectations.length;
    for (const { webhook, event, document } of expectations) this.#add(`${webhook} ${event} ${document}`, 1);
  }

  receive(request: Received): void {
    this.#requests++;
    if (!request.isSigned) this.#badSignatures++;
    else if (request.status >= 300) this.#refused++;
    else if (this.#ids.has(request.id)) this.#repeated++;
    else {
      this.#ids.add(request.id);
      this.#add(`${request.webhook} ${request.event} ${request.document}`, -1);
      if (request.latencyMs !== null) this.#latenciesMs.push(request.latencyMs);
    }
  }

  get committed(): number {
    return this.#committed;
  }

  get requests(): number {
    return this.#requests;
  }

  /** Requests that the receiver answered with an error on purpose. */
  get refused(): number {
    return this.#refused;
  }

  get badSignatures(): number {
    return this.#badSignatures;
  }

  /** Requests whose webhook-id had been accepted before. */
  get repeated(): number {
    return this.#repeated;
  }

  /** The webhook-ids accepted so far. */
  get ids(): ReadonlySet<string> {
    return this.#ids;
  }

  get delivered(): number {
    return this.#ids.size;
  }

  /** Expected deliveries that have not arrived yet. */
  get missing(): number {
    let sum = 0;
    for (const balance of this.#balance.values()) sum += Math.max(0, balance);
    return sum;
  }

  /** Arrived without being expected from the demo's own writer: changes made by hand, or of a run before. */
  get others(): number {
    let sum = 0;
    for (const balance of this.#balance.values()) sum += Math.max(0, -balance);
    return sum;
  }

  /** Commit to receipt of deliveries so far, at so many percent; null before the first. */
  latencyMs(percent: number): number | null {
    const sorted = this.#latenciesMs.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? null;
  }

  #add(key: string, amount: number): void {
    const balance = (this.#balance.get(key) ?? 0) + amount;
    if (balance === 0) this.#balance.delete(key);
    else this.#balance.set(key, balance);
  }
}
