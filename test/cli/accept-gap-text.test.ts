import { describe, expect, test } from "vitest";
import { describeAccepted, describeGap } from "../../src/cli/accept-gap-text.ts";
import type { OpenGap } from "../../src/slot/accept-gap.ts";

const OPEN: OpenGap = {
  gap: {
    kind: "slot_moved",
    message: "the slot stands at 0/3000",
    fromLsn: 0x1000n,
    toLsn: 0x3000n,
    needsSlot: true,
    recordedAt: new Date(0),
  },
  slotName: "walhook_5_1",
  walLsn: 0x10_0000n,
  queued: 2,
};

const shown = (more: Partial<OpenGap["gap"]>): string =>
  describeGap({ ...OPEN, gap: { ...OPEN.gap, ...more } }).join("\n");

describe("a gap, for whoever has to decide", () => {
  test("has kind, time, words, range, what it means, what would be done, what stays, and the command", () => {
    expect(describeGap(OPEN)).toEqual([
      "gap       slot_moved, found 1970-01-01T00:00:00.000Z",
      "          the slot stands at 0/3000",
      "range     from 0/1000 to 0/3000, 8.0 kB of WAL",
      "means     what was committed since the range began, in any table, is not delivered until the new slot begins (1020.0 kB of WAL so far)",
      "--yes     makes a new slot that begins now, with the webhooks as they are now, and drops walhook_5_1 if it is still there",
      "keeps     the log, and the queue with 2 open deliveries, which go on",
      "",
      "Nothing was done. To accept the gap and let the bridge go on:",
      "  walhook accept-gap --yes --reason '…'",
    ]);
  });

  test("where the slot goes on, only the tables concerned miss something", () => {
    const text = shown({ kind: "table_unpublished", needsSlot: false });
    expect(text).toContain("all else is");
    expect(text).toContain("slot walhook_5_1 goes on where the bridge stopped");
  });

  test("a copy is told that its original may live, and makes no sum of another cluster's positions", () => {
    const text = shown({ kind: "other_system", toLsn: null, recordedAt: null });
    expect(text).toContain("other_system, just found");
    expect(text).toContain("from 0/1000, to a place that is not known");
    expect(text).toContain("walhook uninstall --drop-log");
    expect(text).not.toContain("so far");
  });
});

test("what was accepted is told with its number, the slot that goes on, and what was cleared away", () => {
  const accepted = {
    id: 7,
    fromLsn: 0x1000n,
    toLsn: 0x3000n,
    slotName: "walhook_5_2",
    isNewSlot: true,
    webhooks: 3,
    cancelled: 1,
    dropped: ["walhook_5_1"],
  };
  expect(describeAccepted(accepted)).toEqual([
    "accepted, on record as walhook.gap 7: from 0/1000 to 0/3000, 8.0 kB of WAL",
    "replication slot walhook_5_2 made at 0/3000, 3 webhooks in force",
    "replication slot walhook_5_1 dropped",
    "open deliveries of webhooks deleted meanwhile cancelled: 1",
    "next: walhook run",
  ]);
});
