import { describe, expect, it } from "vitest";
import type { Arrival } from "../../torture/receiver/arrival.ts";
import { compare } from "../../torture/verdict/compare.ts";
import type { Expected } from "../../torture/verdict/ledger.ts";
import type { Zero } from "../../torture/verdict/violations.ts";

const first = expected("1", ["a"]);
const second = expected("2", ["a"]);
const other = expected("3", ["b"]);
const barrier: Expected = { ...expected("4", []), isBarrier: true };
const last = expected("5", ["b"]);
const ALL = [first, second, other, barrier, last];

/** A comparison that finds nothing could as well be blind: each kind of trouble is shown to it once. */
describe("the comparison of ledger, receiver and log finds", () => {
  it("nothing where everything came once and in order", async () => {
    expect(await trouble(ALL.map((delivery) => arrivalOf(delivery)))).toEqual([]);
  });

  it("nothing in what comes again, is refused first, or comes in a batch", async () => {
    const together = { requestId: "bat", requestHash: "both" };
    const batch = [first, second].map((delivery) => arrivalOf(delivery, { ...together, request: 1, status: 500 }));
    const again = [first, second].map((delivery) => arrivalOf(delivery, { ...together, request: 2 }));
    const rest = [other, barrier, last, last].map((delivery, i) => arrivalOf(delivery, { request: 3 + i }));
    expect(await trouble([...batch, ...again, ...rest])).toEqual([]);
  });

  const came = ALL.map((delivery) => arrivalOf(delivery));
  const cases: readonly (readonly [string, readonly Arrival[], readonly Zero[]])[] = [
    ["what never came", came.slice(0, 4), ["lost"]],
    ["what came and was never accepted", [...came.slice(0, 4), arrivalOf(last, { status: 500 })], ["lost"]],
    ["what was never committed", [...came, arrivalOf(expected("6", []))], ["phantom"]],
    ["another row than was committed", [arrivalOf(first, { docHash: "x" }), ...came.slice(1)], ["wrong content"]],
    ["another body under the same id", [...came, arrivalOf(last, { bodyHash: "x" })], ["same id with another body"]],
    [
      "a batch that comes again in other company",
      [...came, arrivalOf(last, { requestHash: "x" })],
      ["same id with another body"],
    ],
    ["another id for the same change", [...came, arrivalOf(last, { id: "x" })], ["another id for the same change"]],
    ["a later change of a document before an earlier one", swapped(0, 1), ["order inversions"]],
    ["a change before the TRUNCATE that precedes it", swapped(3, 4), ["order inversions"]],
    ["a TRUNCATE before a change that precedes it", swapped(2, 3), ["order inversions"]],
    ["a wrong signature", [...came, arrivalOf(last, { isSigned: false, status: 401 })], ["signature failures"]],
  ];
  it.each(cases)("%s", async (_, arrivals, zeroes) => {
    expect(await trouble(arrivals)).toEqual(zeroes);
  });

  it("a delivery that the log does not say, says twice, or says of nothing", async () => {
    const rows = new Map(ALL.map(({ key }) => [idOf(key), 1]));
    for (const [id, count] of [
      [idOf(last.key), 0],
      [idOf(last.key), 2],
      ["nothing", 1],
    ] as const) {
      expect(await trouble(came, new Map([...rows, [id, count]]))).toEqual(["log difference"]);
    }
  });

  function swapped(one: number, two: number): readonly Arrival[] {
    const order = [...ALL];
    order[one] = ALL[two]!;
    order[two] = ALL[one]!;
    return order.map((delivery) => arrivalOf(delivery));
  }
});

/** Which numbers are not zero. Unless given, the log says `delivered` once of what was accepted. */
async function trouble(arrivals: readonly Arrival[], delivered?: ReadonlyMap<string, number>): Promise<string[]> {
  const accepted = arrivals.filter(({ status }) => status === 200).map(({ id }) => [id, 1] as const);
  const log = {
    delivered: delivered ?? new Map(accepted),
    replayed: new Map<string, number[]>(),
    unanswered: new Set<string>(),
  };
  const numbered = arrivals.map((arrival, i) => (arrival.request === 0 ? { ...arrival, request: 100 + i } : arrival));
  const { violations } = await compare(ALL, inOrder(numbered), log);
  return Object.entries(violations.counts).flatMap(([zero, count]) => (count > 0 ? [zero] : []));
}

async function* inOrder(arrivals: readonly Arrival[]): AsyncGenerator<Arrival> {
  yield* arrivals;
}

function expected(seq: string, lanes: readonly string[]): Expected {
  const key = `hook on_update ${seq}`;
  return {
    key,
    webhook: "hook",
    event: "on_update",
    order: Number(seq),
    lanes,
    isBarrier: false,
    docHash: `doc ${seq}`,
  };
}

function idOf(key: string): string {
  return `msg ${key}`;
}

function arrivalOf({ key, docHash }: Expected, more: Partial<Arrival> = {}): Arrival {
  const id = idOf(key);
  return {
    id,
    request: 0,
    requestId: id,
    requestHash: `body of ${key}`,
    webhook: "hook",
    isBackfill: false,
    rowSeq: null,
    key,
    docname: null,
    lsn: "0/0",
    docHash,
    bodyHash: `body of ${key}`,
    isSigned: true,
    atMs: 0,
    status: 200,
    mode: "well",
    ...more,
  };
}
