import { describe, expect, test } from "vitest";
import type { BridgeFacts } from "../../../src/cli/check/bridge-facts.ts";
import { checkBridge } from "../../../src/cli/check/check-bridge.ts";
import type { Gap } from "../../../src/slot/gap.ts";
import { formatBytes } from "../../../src/cli/check/finding.ts";

const VERSION = 50;
const GOOD: BridgeFacts = {
  schemaVersion: VERSION,
  state: "running",
  lastError: null,
  slotName: "walhook_5_1",
  slot: { isActive: true, walStatus: "reserved", retainedBytes: 16_777_216, lagBytes: 100 },
  queuedDeliveries: 0,
  gap: null,
};

/** Findings that are not ok, as `level where`. */
function complaints(facts: Partial<BridgeFacts> | null): string[] {
  return checkBridge(facts === null ? null : { ...GOOD, ...facts }, VERSION)
    .filter((finding) => finding.level !== "ok")
    .map((finding) => {
      expect(finding.remedy).not.toBeNull();
      return `${finding.level} ${finding.where}`;
    });
}

describe("checkBridge", () => {
  test("has nothing to say against a bridge at work", () => {
    expect(complaints({})).toEqual([]);
  });

  test("a database without Walhook is one problem", () => {
    expect(complaints(null)).toEqual(["problem schema walhook"]);
  });

  test("an older schema and a newer one are problems", () => {
    expect(complaints({ schemaVersion: VERSION - 1 })).toEqual(["problem schema walhook"]);
    expect(complaints({ schemaVersion: VERSION + 1 })).toEqual(["problem schema walhook"]);
  });

  test("a gap is one problem, with its range and the command that accepts it, whatever else is left of the slot", () => {
    const gap: Gap = {
      kind: "slot_missing",
      message: "the replication slot walhook_5_1 does not exist any more",
      fromLsn: 0x1000n,
      toLsn: 0x2000n,
      needsSlot: true,
      recordedAt: null,
    };
    expect(complaints({ gap, slot: null, state: "gap" })).toEqual(["problem gap"]);
    const finding = checkBridge({ ...GOOD, gap, slot: null }, VERSION).find(({ where }) => where === "gap");
    expect(finding?.what).toContain("slot_missing: the replication slot walhook_5_1 does not exist any more");
    expect(finding?.what).toContain("since 0/1000 up to 0/2000");
    expect(finding?.remedy).toContain("walhook accept-gap");
  });

  test("a slot never made or about to be lost is a problem", () => {
    expect(complaints({ slotName: null, slot: null })).toEqual(["problem replication slot"]);
    const slot = { isActive: false, walStatus: "unreserved", retainedBytes: null, lagBytes: null };
    expect(complaints({ slot, state: "stopped" })).toEqual(["problem slot walhook_5_1"]);
  });

  test("a slot that nobody reads, or that is far behind, is a warning", () => {
    const slot = { isActive: true, walStatus: "extended", retainedBytes: 5e9, lagBytes: 5e9 };
    expect(complaints({ slot })).toEqual(["warning slot walhook_5_1"]);
    const idle = { ...slot, isActive: false, lagBytes: 0 };
    expect(complaints({ slot: idle, state: "stopped" })).toEqual(["warning slot walhook_5_1"]);
  });

  test("a bridge that was killed is a problem, though its row still says that it runs", () => {
    const slot = { isActive: false, walStatus: "reserved", retainedBytes: 0, lagBytes: 0 };
    expect(complaints({ slot })).toEqual(["warning slot walhook_5_1", "problem bridge"]);
  });

  test("a bridge that waits or failed is a problem with its own words; waiting deliveries are a warning", () => {
    expect(complaints({ state: "failed", lastError: "slot lost" })).toEqual(["problem bridge"]);
    expect(complaints({ state: "waiting" })).toEqual(["problem bridge"]);
    expect(complaints({ state: "stopped" })).toEqual([]);
    expect(complaints({ queuedDeliveries: 3 })).toEqual(["warning queue"]);
  });
});

test("bytes are shown in the largest unit that they fill", () => {
  expect([0, 1023, 1024, 16_777_216, 1.5 * 1024 ** 3, 1024 ** 5].map(formatBytes)).toEqual([
    "0 bytes",
    "1023 bytes",
    "1.0 kB",
    "16.0 MB",
    "1.5 GB",
    "1024.0 TB",
  ]);
});
