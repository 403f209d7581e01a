import { describe, expect, test } from "vitest";
import { findGap, findMovedSlot, MAX_UNSTORED_BYTES, publicationGap } from "../../src/slot/find-gap.ts";
import { GapError, type Gap } from "../../src/slot/gap.ts";
import type { GapFacts, PublicationProblem } from "../../src/slot/gap-facts.ts";

const F = 0x1000_0000n;
const GOOD: GapFacts = {
  versionNumber: 180_004,
  isInRecovery: false,
  slotName: "walhook_5_1",
  recordedSystem: "7",
  actualSystem: "7",
  recordedDatabase: 5,
  actualDatabase: 5,
  epoch: 3n,
  flushLsn: F,
  stoppedLsn: F,
  walLsn: F + 1_000n,
  slot: standingAt(F),
  publicationProblems: [],
  openGap: null,
};

function standingAt(confirmedFlushLsn: bigint): GapFacts["slot"] {
  return {
    state: "ready",
    confirmedFlushLsn,
    activePid: null,
    walStatus: "reserved",
    retainedBytes: 0,
    safeBytes: null,
  };
}

const gapOf = (facts: Partial<GapFacts>): Gap | null => findGap({ ...GOOD, ...facts });

describe("findGap", () => {
  test("finds none where system, database, slot and publications are those on record", () => {
    expect(gapOf({})).toBeNull();
    expect(gapOf({ slot: { state: "unready", activePid: 7 } })).toBeNull();
  });

  test.each([
    ["other_system", { actualSystem: "8" }],
    ["other_database", { actualDatabase: 6 }],
    ["slot_missing", { slot: { state: "missing" } }],
    ["slot_recreated", { slot: { state: "foreign", reason: "its output plugin is wal2json" } }],
    ["slot_lost", { slot: { state: "lost", reason: "wal_removed" } }],
  ] as const)("finds %s, from the stored place on, and asks for a new slot", (kind, facts) => {
    expect(gapOf(facts)).toMatchObject({ kind, fromLsn: F, needsSlot: true, recordedAt: null });
  });

  test("a copy is told before its missing slot, and has no end where positions are another cluster's", () => {
    expect(gapOf({ actualSystem: "8", slot: { state: "missing" } })).toMatchObject({
      kind: "other_system",
      toLsn: null,
    });
  });

  test("a gap that was found before stays, whatever was mended meanwhile", () => {
    const openGap: Gap = {
      kind: "slot_lost",
      message: "gone",
      fromLsn: 1n,
      toLsn: 2n,
      needsSlot: true,
      recordedAt: new Date(),
    };
    expect(gapOf({ openGap })).toBe(openGap);
  });
});

describe("findMovedSlot", () => {
  const moved = (facts: Partial<GapFacts>, acknowledged: bigint | null = null): Gap | null =>
    findMovedSlot({ ...GOOD, ...facts }, acknowledged);

  test("after an orderly stop, one byte farther is a gap", () => {
    expect(moved({ slot: standingAt(F) })).toBeNull();
    expect(moved({ slot: standingAt(F + 1n) })).toMatchObject({ kind: "slot_moved", fromLsn: F, toLsn: F + 1n });
  });

  test("after a crash, what idling explains is none, and one byte more is a gap from the stored place on", () => {
    const explained = F + MAX_UNSTORED_BYTES;
    expect(moved({ stoppedLsn: null, slot: standingAt(explained) })).toBeNull();
    expect(moved({ stoppedLsn: null, slot: standingAt(explained + 1n) })).toMatchObject({ fromLsn: F });
  });

  test("what this process has acknowledged itself explains the place to the byte", () => {
    const acknowledged = F + 10n;
    expect(moved({ stoppedLsn: null, slot: standingAt(acknowledged) }, acknowledged)).toBeNull();
    expect(moved({ stoppedLsn: null, slot: standingAt(acknowledged + 1n) }, acknowledged)).toMatchObject({
      fromLsn: acknowledged,
    });
  });

  test("a slot that stands before the stored place sends again what the cursor drops: no gap", () => {
    expect(moved({ slot: standingAt(F - 1_000n) })).toBeNull();
  });
});

describe("publicationGap", () => {
  const TABLE: PublicationProblem = {
    kind: "table_unpublished",
    isConfiguration: false,
    problem: "table a was taken out",
  };
  const MISSING: PublicationProblem = {
    kind: "publication_missing",
    isConfiguration: false,
    problem: "no walhook_insert",
  };
  const gap = (problems: readonly PublicationProblem[], version = 180_000, seen: bigint | null = null): Gap | null =>
    publicationGap(problems, { versionNumber: version, flushLsn: F, walLsn: F + 50n }, seen);

  test("keeps the slot for a table: what it has not sent yet is not lost", () => {
    expect(gap([])).toBeNull();
    expect(gap([TABLE])).toMatchObject({ needsSlot: false, fromLsn: F, toLsn: F + 50n });
    expect(gap([TABLE, { ...TABLE, problem: "table b was taken out" }])?.message).toBe(
      "table a was taken out; table b was taken out",
    );
  });

  test("a dropped publication keeps the slot from 18 on only: before, a slot that is older than it fails for ever", () => {
    expect(gap([MISSING], 180_000)).toMatchObject({ needsSlot: false });
    expect(gap([MISSING], 170_009)).toMatchObject({ needsSlot: true });
  });

  test("where changes of webhooks may be missing, only a new slot has the right configuration", () => {
    expect(gap([{ ...TABLE, isConfiguration: true }])).toMatchObject({ needsSlot: true });
  });

  test("begins where the publications were last known to be whole; with a new slot, not behind what was not read yet", () => {
    expect(gap([TABLE], 180_000, F + 20n)).toMatchObject({ fromLsn: F + 20n });
    expect(gap([MISSING], 140_000, F + 20n)).toMatchObject({ fromLsn: F });
    expect(gap([MISSING], 140_000, F - 20n)).toMatchObject({ fromLsn: F - 20n });
  });
});

test("the error of a gap has its kind, its range, its own exit code and the command that accepts it", () => {
  const error = new GapError(gapOf({ slot: { state: "missing" } })!);
  expect(error).toMatchObject({ code: "slot_missing", kind: "fatal", exitCode: 5 });
  expect(error.message).toBe(
    "the replication slot walhook_5_1 does not exist any more (a gap from 0/10000000 to 0/100003E8)",
  );
  expect(error.hint).toContain("walhook accept-gap");
});
