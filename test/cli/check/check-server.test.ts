import { describe, expect, test } from "vitest";
import { checkServer } from "../../../src/cli/check/check-server.ts";
import type { Finding } from "../../../src/cli/check/finding.ts";
import type { ServerFacts } from "../../../src/cli/check/server-facts.ts";

const GOOD: ServerFacts = {
  versionNumber: 180_004,
  isInRecovery: false,
  walLevel: "logical",
  encoding: "UTF8",
  maxReplicationSlots: 10,
  usedReplicationSlots: 1,
  maxWalSenders: 10,
  usedWalSenders: 1,
  maxSlotWalKeepMb: 4096,
  user: "bridge",
  isSuperuser: false,
  canReplicate: true,
  isBridgeMember: true,
  clockSkewMs: 3,
};

function find(where: string, facts: Partial<ServerFacts>, hasSlot = true, isSlotActive = true): Finding {
  const finding = checkServer({ ...GOOD, ...facts }, hasSlot, isSlotActive).find((one) => one.where === where);
  if (finding === undefined) throw new Error(`nothing about ${where}`);
  return finding;
}

describe("checkServer", () => {
  test("has nothing to say against a good server", () => {
    expect(checkServer(GOOD, true, true).filter((finding) => finding.level !== "ok")).toEqual([]);
  });

  test("every finding that is not ok has a remedy", () => {
    const bad = {
      walLevel: "replica",
      encoding: "LATIN1",
      canReplicate: false,
      maxSlotWalKeepMb: -1,
      clockSkewMs: -9000,
      isInRecovery: true,
    };
    for (const finding of checkServer({ ...GOOD, ...bad }, false, false)) {
      expect([finding.where, finding.remedy === null]).toEqual([finding.where, finding.level === "ok"]);
    }
  });

  test("PostgreSQL 14 to 18 are fine, 13 is too old, 19 was not tested, a standby will not do", () => {
    for (const major of [14, 15, 16, 17, 18]) {
      expect(find("server", { versionNumber: major * 10_000 }).level).toBe("ok");
    }
    expect(find("server", { versionNumber: 130_020 })).toMatchObject({ level: "problem", what: "PostgreSQL 13.20" });
    expect(find("server", { versionNumber: 190_000 }).level).toBe("warning");
    expect(find("server", { isInRecovery: true }).level).toBe("problem");
  });

  test("wal_level must be logical", () => {
    expect(find("wal_level", { walLevel: "replica" })).toMatchObject({
      level: "problem",
      remedy: expect.stringContaining("ALTER SYSTEM SET wal_level = logical"),
    });
  });

  test("full slots matter only while Walhook has none, full senders only while nobody reads", () => {
    const full = { usedReplicationSlots: 10, usedWalSenders: 10 };
    expect(find("max_replication_slots", full, false).level).toBe("problem");
    expect(find("max_replication_slots", full, true).level).toBe("ok");
    expect(find("max_wal_senders", full, true, false).level).toBe("problem");
    expect(find("max_wal_senders", full, true, true).level).toBe("ok");
  });

  test("the role must replicate and be a member of walhook_bridge, where that role exists", () => {
    expect(find("role bridge", { canReplicate: false }).remedy).toContain("ALTER ROLE bridge REPLICATION");
    expect(find('role Odd "one"', { user: 'Odd "one"', canReplicate: false }).remedy).toContain('"Odd ""one"""');
    expect(find("role bridge", { isBridgeMember: false }).level).toBe("problem");
    expect(find("role bridge", { isBridgeMember: null }).level).toBe("ok");
    expect(find("role bridge", { isSuperuser: true }).level).toBe("warning");
  });

  test("an unbounded slot is a warning", () => {
    expect(find("max_slot_wal_keep_size", { maxSlotWalKeepMb: -1 }).level).toBe("warning");
  });

  test("clocks more than 5 s apart are a warning, in either direction", () => {
    expect(find("clock", { clockSkewMs: 5000 }).level).toBe("ok");
    expect(find("clock", { clockSkewMs: 5001 })).toMatchObject({ level: "warning" });
    expect(find("clock", { clockSkewMs: -60_000 }).what).toContain("60.0 s behind");
  });
});
