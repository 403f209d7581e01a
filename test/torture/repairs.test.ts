import { describe, expect, it } from "vitest";
import type { Arrival } from "../../torture/receiver/arrival.ts";
import { backfillOf, versionName, type BackfillFacts } from "../../torture/verdict/backfill-check.ts";
import { compare } from "../../torture/verdict/compare.ts";
import { orderOf, type Expected } from "../../torture/verdict/ledger.ts";
import type { LogFacts } from "../../torture/verdict/log-facts.ts";
import type { ReplayFacts } from "../../torture/verdict/replay-differences.ts";

/** Two changes of document a, numbers 1 and 3; document b was there before, by change 2. */
const CHANGES = [changeOf("a", 1), changeOf("a", 3)];
const CONTENTS = new Map([1, 2, 3].map((seq) => [versionName("t", seq), `doc ${seq}`]));
const BACKFILL: BackfillFacts = {
  id: "1",
  webhook: "hook",
  doctype: "t",
  condition: null,
  isConditional: false,
  before: new Map([
    ["a", 1],
    ["b", 2],
  ]),
  after: new Map([
    ["a", 3],
    ["b", 2],
  ]),
  state: "done",
  error: null,
};

const live = CHANGES.map((change) => arrivalOf(change));
const [first, second] = live as [Arrival, Arrival];
const rowA = rowOf("a", 1);
const rowB = rowOf("b", 2);

/** A check that finds nothing could as well be blind: each kind of trouble is shown to it once. */
describe("of a backfill the comparison finds", () => {
  it.each<[string, readonly Arrival[]]>([
    ["each row once", [first, rowA, rowB, second]],
    ["a row left to a newer change of its own", [first, second, rowB]],
    ["a row tried again", [first, { ...rowB, status: 500 }, rowB, second]],
    ["a row read anew after a crash, as it is by then", [first, rowA, second, { ...rowOf("a", 3), id: rowA.id }, rowB]],
  ])("nothing in %s", async (_, arrivals) => {
    expect(await trouble(arrivals)).toEqual([]);
  });

  it.each<[string, readonly Arrival[], readonly string[]]>([
    ["a row older than what was sent of it", [first, second, rowA, rowB], ["stale backfills"]],
    ["a row before the change that made it", [rowA, first, second, rowB], ["order inversions"]],
    ["a row that was never sent", [first, second], ["backfill rows missing"]],
    ["a row that was never accepted", [first, second, { ...rowB, status: 500 }], ["backfill rows missing"]],
    ["a row that was never committed", [first, second, rowB, rowOf("c", 9)], ["phantom"]],
    ["a row of another content", [first, second, { ...rowB, docHash: "x" }], ["wrong content"]],
    ["a row of a backfill that nobody asked for", [first, second, rowB, rowOf("b", 2, 2)], ["phantom"]],
    [
      "a row under two ids",
      [first, second, rowB, { ...rowB, id: rowB.id.replace(/.$/, "1") }],
      ["another id for the same change"],
    ],
  ])("%s", async (_, arrivals, zeroes) => {
    expect(await trouble(arrivals)).toEqual(zeroes);
  });

  it("a failure, but where the schema was changed", async () => {
    const failed = (error: string): Promise<readonly string[]> =>
      trouble(live, { backfills: [{ ...BACKFILL, state: "failed", after: null, error }] });
    expect(await failed("division by zero")).toEqual(["backfill rows missing"]);
    expect(await failed("column doc.extra_1 does not exist")).toEqual([]);
  });

  it("its number in the ids of its deliveries", () => {
    expect(backfillOf("msg_0000000000004lb8oj6gr5fdl8oj5m8g10000004ci6r1dq8")).toBe("2");
  });
});

describe("of a replay the comparison finds", () => {
  const replay: ReplayFacts = {
    id: "1",
    webhook: "hook",
    deliveries: [first.id],
    askedAtMs: 10,
    isStopped: false,
    state: "done",
    error: null,
    chosen: 1,
    queued: 1,
    skipped: 0,
  };
  const replayed = new Map([[first.id, [20]]]);
  const none = { ...replay, deliveries: [], chosen: 0, queued: 0 };

  it("nothing where it came once more, though newer ones had come before", async () => {
    expect(await trouble([...live, rowB, first], { replays: [replay], replayed })).toEqual([]);
  });

  it.each<[string, readonly Arrival[], ReplayFacts, LogFacts["replayed"]]>([
    ["what was not sent", live, replay, new Map()],
    ["what the log says was sent, and never came", live, replay, replayed],
    ["what was sent and never asked for", [...live, first], none, replayed],
    ["what was sent before it was asked for", [...live, first], { ...replay, askedAtMs: 30 }, replayed],
    ["what was chosen and not queued", [...live, first], { ...replay, chosen: 2 }, replayed],
    ["one that failed", [...live, first], { ...replay, state: "failed" }, replayed],
  ])("%s", async (_, arrivals, facts, sent) => {
    expect(await trouble([...arrivals, rowB], { replays: [facts], replayed: sent })).toEqual(["replay difference"]);
  });
});

interface Facts {
  readonly backfills?: readonly BackfillFacts[];
  readonly replays?: readonly ReplayFacts[];
  readonly replayed?: LogFacts["replayed"];
}

/** Which numbers are not zero. The log says `delivered` once of what was accepted. */
async function trouble(
  arrivals: readonly Arrival[],
  { backfills = [BACKFILL], replays = [], replayed = new Map() }: Facts = {},
): Promise<readonly string[]> {
  const accepted = arrivals.filter(({ status }) => status === 200).map(({ id }) => [id, 1] as const);
  const log = { delivered: new Map(accepted), replayed, unanswered: new Set<string>() };
  const numbered = arrivals.map((arrival, i) => ({ ...arrival, request: 1 + i }));
  const { violations } = await compare(CHANGES, inOrder(numbered), log, { backfills, replays, contents: CONTENTS });
  return Object.entries(violations.counts).flatMap(([zero, count]) => (count > 0 ? [zero] : []));
}

async function* inOrder(arrivals: readonly Arrival[]): AsyncGenerator<Arrival> {
  yield* arrivals;
}

function changeOf(docname: string, seq: number): Expected {
  return {
    key: `hook on_update ${seq}`,
    webhook: "hook",
    event: "on_update",
    order: orderOf(seq, 1),
    lanes: [docname],
    isBarrier: false,
    docHash: `doc ${seq}`,
  };
}

function arrivalOf({ key, docHash, lanes }: Expected, more: Partial<Arrival> = {}): Arrival {
  return {
    id: `msg_g${key}`,
    request: 0,
    requestId: key,
    requestHash: "same",
    webhook: "hook",
    isBackfill: false,
    rowSeq: null,
    key,
    docname: lanes[0] ?? null,
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

/** A row as a backfill sends it: the backfill's number is in the first 13 digits of the id. */
function rowOf(docname: string, seq: number, backfill = 1): Arrival {
  const id = `msg_${(backfill * 2).toString(32).padStart(13, "0")}${docname}`.padEnd(52, "0");
  return arrivalOf(changeOf(docname, seq), {
    id,
    requestId: id,
    isBackfill: true,
    rowSeq: seq,
    bodyHash: `row ${seq}`,
  });
}
