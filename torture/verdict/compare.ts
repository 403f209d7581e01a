import { isAccepted, type Arrival } from "../receiver/arrival.ts";
import type { Expected } from "./ledger.ts";
import { LaneOrder } from "./lane-order.ts";
import type { LogFacts } from "./log-facts.ts";
import { Violations } from "./violations.ts";

/** What the comparison of ledger, receiver and log says. */
export interface Comparison {
  readonly violations: Violations;
  /** Deliveries that committed changes must lead to. */
  readonly expected: number;
  readonly requests: number;
  /** Distinct deliveries that the receiver accepted. */
  readonly delivered: number;
  /** Accepted although the receiver had accepted the same delivery before. */
  readonly repeated: readonly Repetition[];
  /** When each delivery was accepted for the first time, in order. */
  readonly acceptedAtMs: readonly number[];
}

export interface Repetition {
  readonly firstMs: number;
  readonly againMs: number;
  /** How the receiver behaved the first time. */
  readonly mode: Arrival["mode"];
  /** The bridge saw no answer to one of its attempts. */
  readonly isUnanswered: boolean;
}

/**
 * Compares what was committed with what arrived and what was logged. The ledger is the truth: nothing here asks the
 * bridge what it meant to do.
 */
export async function compare(
  expectations: Iterable<Expected>,
  arrivals: AsyncIterable<Arrival>,
  log: LogFacts,
): Promise<Comparison> {
  const comparer = new Comparer(expectations, log);
  for await (const arrival of arrivals) comparer.arrive(arrival);
  return comparer.conclude();
}

/** What is known of a delivery that has arrived. */
interface Known {
  readonly key: string;
  readonly bodyHash: string;
  /** When it was accepted for the first time. */
  accepted: Arrival | null;
}

class Comparer {
  readonly #violations = new Violations();
  readonly #expected: ReadonlyMap<string, Expected>;
  readonly #order: LaneOrder;
  readonly #log: LogFacts;
  readonly #byId = new Map<string, Known>();
  readonly #idOfKey = new Map<string, string>();
  readonly #bodyOfRequest = new Map<string, string>();
  readonly #repeated: Repetition[] = [];
  readonly #acceptedAtMs: number[] = [];
  #requests = 0;

  constructor(expectations: Iterable<Expected>, log: LogFacts) {
    this.#expected = new Map([...expectations].map((expectation) => [expectation.key, expectation]));
    this.#order = new LaneOrder(this.#expected.values());
    this.#log = log;
  }

  arrive(arrival: Arrival): void {
    this.#requests = arrival.request;
    if (!arrival.isSigned) this.#violations.add("signature failures", arrival);
    this.#checkContent(arrival);
    const known = this.#identify(arrival);
    if (isAccepted(arrival)) this.#accept(arrival, known);
  }

  #checkContent(arrival: Arrival): void {
    const expectation = this.#expected.get(arrival.key);
    if (expectation === undefined) {
      this.#violations.add("phantom", arrival);
      return;
    }
    if (expectation.docHash !== arrival.docHash) this.#violations.add("wrong content", { arrival, expectation });
    const earlier = this.#order.arrive(expectation, arrival.request, isAccepted(arrival));
    if (earlier !== null) this.#violations.add("order inversions", { arrival, expectation, earlier });
  }

  /** Ids, changes and bodies belong together, one to one. */
  #identify(arrival: Arrival): Known {
    const { id, key, bodyHash, requestId, requestHash } = arrival;
    const known = getOrAdd(this.#byId, id, { key, bodyHash, accepted: null });
    const knownRequest = getOrAdd(this.#bodyOfRequest, requestId, requestHash);
    if (known.key !== key || known.bodyHash !== bodyHash || knownRequest !== requestHash) {
      this.#violations.add("same id with another body", { first: known, second: arrival });
    }
    const knownId = getOrAdd(this.#idOfKey, key, id);
    if (knownId !== id) this.#violations.add("another id for the same change", { first: knownId, second: arrival });
    return known;
  }

  #accept(arrival: Arrival, known: Known): void {
    if (known.accepted === null) {
      known.accepted = arrival;
      this.#acceptedAtMs.push(arrival.atMs);
      return;
    }
    const { atMs: firstMs, mode } = known.accepted;
    const isUnanswered = this.#log.unanswered.has(arrival.id);
    this.#repeated.push({ firstMs, againMs: arrival.atMs, mode, isUnanswered });
  }

  /** What should have come and did not, and what the log says of all that came. */
  conclude(): Comparison {
    const { delivered } = this.#log;
    for (const expectation of this.#expected.values()) {
      const id = this.#idOfKey.get(expectation.key);
      if (id === undefined || !this.#isAccepted(id)) this.#violations.add("lost", expectation);
    }
    for (const id of new Set([...this.#byId.keys(), ...delivered.keys()])) {
      const rows = delivered.get(id) ?? 0;
      const due = this.#isAccepted(id) ? 1 : 0;
      if (rows !== due) this.#violations.add("log difference", { id, rows, due, arrived: this.#byId.get(id) ?? null });
    }
    return {
      violations: this.#violations,
      expected: this.#expected.size,
      requests: this.#requests,
      delivered: this.#acceptedAtMs.length,
      repeated: this.#repeated,
      acceptedAtMs: this.#acceptedAtMs,
    };
  }

  #isAccepted(id: string): boolean {
    const known = this.#byId.get(id);
    return known !== undefined && known.accepted !== null;
  }
}

/** What stands there, which is `value` where nothing stood there before. */
function getOrAdd<V>(map: Map<string, V>, key: string, value: V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  map.set(key, value);
  return value;
}
