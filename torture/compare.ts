import { isAccepted, type Arrival } from "./arrival.ts";
import type { Expected } from "./ledger.ts";
import { LaneOrder } from "./lane-order.ts";
import { Violations } from "./violations.ts";

/** How often a delivery stands in the log as delivered, by `webhook-id`. */
export type DeliveredRows = ReadonlyMap<string, number>;

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
  readonly key: string;
  readonly firstMs: number;
  readonly againMs: number;
  /** How the receiver behaved the first time. */
  readonly mode: Arrival["mode"];
}

/** What is known of a delivery that has arrived. */
interface Known {
  readonly key: string;
  readonly bodyHash: string;
  accepted: Arrival | null;
}

/**
 * Compares what was committed with what arrived and what was logged. The ledger is the truth: nothing here asks the
 * bridge what it meant to do.
 */
export async function compare(
  expectations: Iterable<Expected>,
  arrivals: AsyncIterable<Arrival>,
  deliveredRows: DeliveredRows,
): Promise<Comparison> {
  const violations = new Violations();
  const expected = new Map<string, Expected>();
  for (const expectation of expectations) expected.set(expectation.key, expectation);
  const order = new LaneOrder(expected.values());
  const byId = new Map<string, Known>();
  const idOfKey = new Map<string, string>();
  const repeated: Repetition[] = [];
  const acceptedAtMs: number[] = [];
  const bodyOfRequest = new Map<string, string>();
  let requests = 0;

  for await (const arrival of arrivals) {
    requests = arrival.request;
    const { id, key, bodyHash, docHash, requestId, requestHash } = arrival;
    if (!arrival.isSigned) violations.add("signature failures", arrival);
    const expectation = expected.get(key);
    if (expectation === undefined) violations.add("phantom", arrival);
    else if (expectation.docHash !== docHash) violations.add("wrong content", { arrival, expectation });

    let known = byId.get(id);
    if (known === undefined) byId.set(id, (known = { key, bodyHash, accepted: null }));
    else if (known.bodyHash !== bodyHash || known.key !== key) {
      violations.add("same id with another body", { first: known, second: arrival });
    }
    const knownRequest = bodyOfRequest.get(requestId);
    if (knownRequest === undefined) bodyOfRequest.set(requestId, requestHash);
    else if (knownRequest !== requestHash)
      violations.add("same id with another body", { first: knownRequest, arrival });
    const otherId = idOfKey.get(key);
    if (otherId === undefined) idOfKey.set(key, id);
    else if (otherId !== id) violations.add("another id for the same change", { first: otherId, second: arrival });

    if (expectation !== undefined) {
      const earlier = order.arrive(expectation, arrival.request, isAccepted(arrival));
      if (earlier !== null) violations.add("order inversions", { arrival, expectation, earlier });
    }
    if (!isAccepted(arrival)) continue;
    if (known.accepted === null) {
      known.accepted = arrival;
      acceptedAtMs.push(arrival.atMs);
    } else {
      const { atMs, mode } = known.accepted;
      repeated.push({ key, firstMs: atMs, againMs: arrival.atMs, mode });
    }
  }

  for (const expectation of expected.values()) {
    const id = idOfKey.get(expectation.key);
    if (id === undefined || byId.get(id)?.accepted === null) violations.add("lost", expectation);
  }
  for (const [id, { key, accepted }] of byId) {
    const rows = deliveredRows.get(id) ?? 0;
    if (accepted !== null && rows !== 1) violations.add("log difference", { id, key, rows, atMs: accepted.atMs });
  }
  for (const [id, rows] of deliveredRows) {
    if (byId.get(id)?.accepted === undefined || byId.get(id)?.accepted === null) {
      violations.add("log difference", { id, rows, arrived: false });
    }
  }
  return { violations, expected: expected.size, requests, delivered: acceptedAtMs.length, repeated, acceptedAtMs };
}
