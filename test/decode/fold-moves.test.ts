import { describe, expect, it } from "vitest";
import { findMove, foldMove } from "../../src/decode/fold-moves.ts";
import type { Pending, PendingChange, RowImages } from "../../src/decode/pending.ts";
import type { Relation } from "../../src/decode/relation.ts";

const ROOT: Relation = {
  oid: 1,
  schema: "public",
  table: "orders",
  doctype: "orders",
  columns: ["day", "id", "note"].map((name) => ({ name, typeOid: 25, json: { kind: "text" } })),
  keyIndexes: [0, 1],
  moveKeyIndexes: [1],
  docstatusIndex: -1,
  omitted: [],
  isPartitioned: true,
};

let lsn = 0n;

function change(images: RowImages, relation: Relation | null = ROOT, oid = 1, frameBytes = 10): PendingChange {
  lsn += 1n;
  return {
    type: "change",
    entry: {
      message: { tag: "relation", oid, schema: "public", name: "t", identity: "d", columns: [] },
      relation,
      isAskedFor: true,
    },
    images,
    transaction: { commitLsn: 1000n, commitTimeUs: 0n, xid: 1 },
    position: { commitLsn: 1000n, changeLsn: lsn, index: 0 },
    oversized: null,
    frameBytes,
    bytes: frameBytes,
  };
}

const deleted = change({ kind: "delete", old: ["mon", "7", "n"] });
const inserted = change({ kind: "insert", new: ["tue", "7", "n"] });
const other = change({ kind: "insert", new: ["x"] }, { ...ROOT, oid: 2, isPartitioned: false }, 2);
const commit: Pending = { type: "commit", commitLsn: 1000n, endLsn: 1010n, configuration: [], bytes: 26 };

function verdict(...pending: Pending[]): string {
  return findMove(pending, 0).verdict;
}

describe("a row that moves between partitions", () => {
  it("is a DELETE and the INSERT that follows, with the same key but for the partition's column", () => {
    expect(findMove([deleted, inserted], 0)).toEqual({ verdict: "yes", index: 1, inserted });
  });

  it("becomes one update at the INSERT's place, with the deleted row as the old one", () => {
    expect(foldMove(deleted, inserted)).toEqual({
      ...inserted,
      images: { kind: "update", old: ["mon", "7", "n"], new: ["tue", "7", "n"] },
    });
  });

  it("is found behind changes of other tables", () => {
    expect(findMove([deleted, other, other, inserted], 0)).toMatchObject({ verdict: "yes", index: 3 });
  });

  it("waits for what decides it", () => {
    expect(verdict(deleted)).toBe("wait");
    expect(verdict(deleted, other)).toBe("wait");
    expect(verdict(deleted, change({ kind: "insert", new: ["tue", "7", "n"] }, null))).toBe("wait");
  });

  it("is none where the transaction ends before", () => {
    expect(verdict(deleted, other, commit, inserted)).toBe("no");
  });

  it("is none where the next change of the root is another one", () => {
    expect(verdict(deleted, change({ kind: "insert", new: ["tue", "8", "n"] }), inserted)).toBe("no");
    expect(verdict(deleted, deleted, inserted)).toBe("no");
    expect(verdict(deleted, change({ kind: "update", old: null, new: ["tue", "7", "n"] }))).toBe("no");
    expect(verdict(deleted, change({ kind: "truncate" }), inserted)).toBe("no");
  });

  it("is none where nothing names a row wherever it is, and where the old key is not known", () => {
    const { moveKeyIndexes: _, ...unnamed } = ROOT;
    expect(verdict(change({ kind: "delete", old: ["mon", "7", "n"] }, unnamed), inserted)).toBe("no");
    expect(verdict(change({ kind: "delete", old: ["mon", undefined, "n"] }), inserted)).toBe("no");
  });

  it("is none where the table's columns changed in between", () => {
    const renamed = { ...ROOT, columns: ROOT.columns.map((column) => ({ ...column, name: `${column.name}2` })) };
    expect(verdict(deleted, change({ kind: "insert", new: ["tue", "7", "n"] }, renamed))).toBe("no");
  });

  it("is looked for up to 1,000 changes or 256 KiB ahead, however they arrive", () => {
    const many = Array.from({ length: 999 }, () => other);
    expect(verdict(deleted, ...many, inserted)).toBe("yes");
    expect(verdict(deleted, ...many, other, inserted)).toBe("no");
    expect(verdict(deleted, ...many, other)).toBe("wait");
    const big = change({ kind: "insert", new: ["x"] }, { ...ROOT, oid: 2 }, 2, 256 * 1024 + 1);
    expect(verdict(deleted, big)).toBe("no");
    expect(verdict(deleted, big, inserted)).toBe("no");
  });
});
