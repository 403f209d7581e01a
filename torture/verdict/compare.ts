import { isAccepted, type Arrival } from "../receiver/arrival.ts";
import { BackfillCheck } from "./backfill-check.ts";
import type { Expected } from "./ledger.ts";
import { LaneOrder } from "./lane-order.ts";
import type { LogFacts } from "./log-facts.ts";
import { NO_REPAIRS, type RepairFacts } from "./repair-facts.ts";
import { replayDifferences } from "./replay-differences.ts";
import { Violations } from "./violations.ts";

/** What the comparison of ledger, receiver and log says. */
export interface Comparison {
  readonly violations: Violations;
  /** Deliveries that committed changes must lead to. */
  readonly expected: number;
  readonly requests: number;
  /** Distinct deliveries of changes that the receiver accepted. */
  readonly delivered: number;
  /** Rows that backfills sent and the receiver accepted. */
  readonly backfilled: number;
  /** Rows that came with another body than before: they were read anew after a crash. */
  readonly readAnew: number;
  /** Deliveries that were sent again from the log, each as often as it was. */
  readonly replayed: number;
  /** Accepted although the receiver had accepted the same delivery before. */
  readonly repeated: readonly Repetition[];
  /** When each delivery of a change was accepted for the first time, in order. */
  readonly acceptedAtMs: readonly number[];
}

export interface Repetition {
  readonly firstMs: number;
  readonly againMs: number;
  /** How the receiver behaved the first time. */
  readonly mode: Arrival["mode"];
  /** The bridge saw no answer to one of its attempts. */
  readonly isUnanswered: boolean;
  /** It was sent again from the log. */
  readonly isReplayed: boolean;
}

/**
 * Compares what was committed with what arrived and what was logged. The ledger is the truth: nothing here asks the
 * bridge what it meant to do.
 */
export async function compare(
  expectations: Iterable<Expected>,
  arrivals: AsyncIterable<Arrival>,
  log: LogFacts,
  repairs: RepairFacts = NO_REPAIRS,
): Promise<Comparison> {
  const comparer = new Comparer(expectations, log, repairs);
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
  readonly #repairs: RepairFacts;
  readonly #backfills: BackfillCheck;
  /** How often each delivery was accepted. */
  readonly #times = new Map<string, number>();
  readonly #byId = new Map<string, Known>();
  readonly #idOfKey = new Map<string, string>();
  readonly #bodyOfRequest = new Map<string, string>();
  readonly #repeated: Repetition[] = [];
  readonly #acceptedAtMs: number[] = [];
  #requests = 0;

  constructor(expectations: Iterable<Expected>, log: LogFacts, repairs: RepairFacts) {
    this.#expected = new Map([...expectations].map((expectation) => [expectation.key, expectation]));
    this.#order = new LaneOrder(this.#expected.values());
    this.#log = log;
    this.#repairs = repairs;
    this.#backfills = new BackfillCheck(repairs.backfills, repairs.contents, this.#violations);
  }

  arrive(arrival: Arrival): void {
    this.#requests = arrival.request;
    if (!arrival.isSigned) this.#violations.add("signature failures", arrival);
    if (arrival.isBackfill) this.#backfills.arrive(arrival, this.#order);
    else this.#checkContent(arrival);
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

  /** Ids, changes and bodies belong together, one to one; of backfills only ids and rows, which are watched elsewhere. */
  #identify(arrival: Arrival): Known {
    const { id, key, bodyHash, requestId, requestHash, isBackfill } = arrival;
    const known = getOrAdd(this.#byId, id, { key, bodyHash, accepted: null });
    const knownRequest = getOrAdd(this.#bodyOfRequest, requestId, requestHash);
    const isOther = !isBackfill && (known.key !== key || known.bodyHash !== bodyHash);
    if (isOther || knownRequest !== requestHash) {
      this.#violations.add("same id with another body", { first: known, second: arrival });
    }
    if (isBackfill) return known;
    const knownId = getOrAdd(this.#idOfKey, key, id);
    if (knownId !== id) this.#violations.add("another id for the same change", { first: knownId, second: arrival });
    return known;
  }

  #accept(arrival: Arrival, known: Known): void {
    this.#times.set(arrival.id, (this.#times.get(arrival.id) ?? 0) + 1);
    if (known.accepted === null) {
      known.accepted = arrival;
      if (!arrival.isBackfill) this.#acceptedAtMs.push(arrival.atMs);
      return;
    }
    const { atMs: firstMs, mode } = known.accepted;
    const isUnanswered = this.#log.unanswered.has(arrival.id);
    const isReplayed = this.#log.replayed.has(arrival.id);
    this.#repeated.push({ firstMs, againMs: arrival.atMs, mode, isUnanswered, isReplayed });
  }

  /** What should have come and did not, and what the log says of all that came. */
  conclude(): Comparison {
    const { delivered, replayed } = this.#log;
    for (const expectation of this.#expected.values()) {
      const id = this.#idOfKey.get(expectation.key);
      if (id === undefined || !this.#isAccepted(id)) this.#violations.add("lost", expectation);
    }
    for (const id of new Set([...this.#byId.keys(), ...delivered.keys()])) {
      const rows = delivered.get(id) ?? 0;
      if (this.#backfills.isOwn(id) && this.#backfills.mayBeLogged(id, rows)) continue;
      const due = this.#isAccepted(id) ? 1 : 0;
      if (rows !== due) this.#violations.add("log difference", { id, rows, due, arrived: this.#byId.get(id) ?? null });
    }
    this.#backfills.conclude(delivered, this.#order);
    for (const difference of replayDifferences(this.#repairs.replays, this.#log, this.#times)) {
      this.#violations.add("replay difference", difference);
    }
    return {
      violations: this.#violations,
      expected: this.#expected.size,
      requests: this.#requests,
      delivered: this.#acceptedAtMs.length,
      backfilled: this.#backfills.rows,
      readAnew: this.#backfills.repeatedReads,
      replayed: [...replayed.values()].reduce((sum, times) => sum + times.length, 0),
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
