import { describe, expect, it } from "vitest";
import { type SlotRow, judgeSlot } from "../../src/replication/slot-status.ts";

const ROW: SlotRow = {
  slot_name: "s",
  plugin: "pgoutput",
  slot_type: "logical",
  database: "shop",
  temporary: false,
  active_pid: null,
  restart_lsn: "0/1000",
  confirmed_flush_lsn: "0/2000",
  wal_status: "reserved",
  invalidation_reason: null,
  conflicting: null,
  current_database: "shop",
  retained_bytes: "4096",
  safe_bytes: null,
};

describe("a slot's state", () => {
  it("is missing without a row", () => {
    expect(judgeSlot(null)).toEqual({ state: "missing" });
  });
  it("is ready, with what it was told and what it retains", () => {
    expect(judgeSlot({ ...ROW, active_pid: 42, safe_bytes: "1000" })).toEqual({
      state: "ready",
      confirmedFlushLsn: 0x2000n,
      activePid: 42,
      walStatus: "reserved",
      retainedBytes: 4096,
      safeBytes: 1000,
    });
  });
  it("is ready while the server still keeps its WAL, though it is close to losing it", () => {
    expect(judgeSlot({ ...ROW, wal_status: "unreserved" })).toMatchObject({ state: "ready", walStatus: "unreserved" });
  });
  it.each([
    ["lost before 17", { wal_status: "lost", restart_lsn: null }, "wal_removed"],
    ["lost with a restart LSN left", { wal_status: "lost" }, "wal_removed"],
    ["lost with the server's reason", { wal_status: "lost", invalidation_reason: "idle_timeout" }, "idle_timeout"],
    ["in conflict on a standby", { conflicting: true }, "conflict"],
  ])("is lost when %s", (_when, change, reason) => {
    expect(judgeSlot({ ...ROW, ...change })).toEqual({ state: "lost", reason });
  });
  it("is unready while its creation waits", () => {
    expect(judgeSlot({ ...ROW, confirmed_flush_lsn: null, active_pid: 7 })).toEqual({ state: "unready", activePid: 7 });
  });
  it.each([
    ["a physical slot", { slot_type: "physical", plugin: null, database: null }],
    ["another plugin's", { plugin: "wal2json" }],
    ["another database's", { database: "other" }],
    ["a temporary one", { temporary: true }],
  ])("is foreign when it is %s", (_what, change) => {
    expect(judgeSlot({ ...ROW, ...change })).toMatchObject({ state: "foreign" });
  });
});
