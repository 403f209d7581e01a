import { describe, expect, test } from "vitest";
import { checkAuthors, checkTables } from "../../../src/cli/check/check-tables.ts";
import type { TableFacts } from "../../../src/cli/check/table-facts.ts";

const GOOD: TableFacts = {
  doctype: "orders",
  webhooks: ["new-order"],
  exists: true,
  successor: null,
  name: "orders",
  owner: "shop",
  keeper: "walhook_owner",
  isKeeperMemberOfOwner: true,
  hasPrimaryKey: true,
  isInInsertPublication: false,
  isInAllPublication: true,
  needsAllChanges: true,
  missesAttached: false,
  needsOldRow: false,
  leaves: [{ name: "orders", replicaIdentity: "d", isIdentifiable: true }],
};

/** Each finding as `level where -> remedy`. */
function judged(facts: Partial<TableFacts>): string[] {
  return checkTables([{ ...GOOD, ...facts }]).map(({ level, where, remedy }) => `${level} ${where} -> ${remedy}`);
}

describe("checkTables", () => {
  test("a table that is published as its webhooks need is fine", () => {
    expect(judged({})).toEqual(["ok table orders -> null"]);
    const insertsOnly = { isInAllPublication: false, isInInsertPublication: true, needsAllChanges: false };
    expect(judged(insertsOnly)).toEqual(["ok table orders -> null"]);
  });

  test("the publication of inserts is not enough for a webhook on updates", () => {
    expect(judged({ isInAllPublication: false, isInInsertPublication: true })).toEqual([
      "problem table orders -> `walhook accept-gap` puts it back.",
    ]);
    expect(judged({ isInAllPublication: false, needsAllChanges: false })).toEqual([
      "problem table orders -> `walhook accept-gap` puts it back.",
    ]);
  });

  test("a dropped table is shown; where its name exists again, with the UPDATE that moves the webhooks", () => {
    expect(judged({ exists: false, webhooks: ["it's", "b"] })).toEqual([
      "problem table orders -> delete from walhook.webhook where name in ('it''s', 'b');",
    ]);
    expect(judged({ exists: false, successor: "sales.orders" })).toEqual([
      "problem table orders -> update walhook.webhook set webhook_doctype = 'sales.orders' where name in ('new-order');",
    ]);
  });

  test("an owner that walhook_owner cannot act for is a warning with the GRANT", () => {
    expect(judged({ isKeeperMemberOfOwner: false, owner: "Shop Owner" })).toEqual([
      'warning table orders -> GRANT "Shop Owner" TO walhook_owner;',
    ]);
  });

  test("published for updates without an identity, the application's own statements fail: a problem", () => {
    const leaves = [{ name: "orders", replicaIdentity: "d", isIdentifiable: false }];
    expect(judged({ hasPrimaryKey: false, leaves }).map((line) => line.split(" ->")[0])).toEqual([
      "warning table orders",
      "problem table orders",
    ]);
    expect(judged({ leaves, isInAllPublication: false, isInInsertPublication: true, needsAllChanges: false })).toEqual([
      "ok table orders -> null",
    ]);
  });

  test("a partition that does not write whole old rows is named, where a webhook needs them", () => {
    const leaves = [
      { name: "orders_2025", replicaIdentity: "f", isIdentifiable: true },
      { name: "orders_2026", replicaIdentity: "d", isIdentifiable: true },
    ];
    expect(judged({ leaves })).toEqual(["ok table orders -> null"]);
    expect(judged({ leaves, needsOldRow: true })).toEqual([
      "warning partition orders_2026 of orders -> ALTER TABLE orders_2026 REPLICA IDENTITY FULL;",
    ]);
  });

  test("on PostgreSQL 14 without the guard, a watched partitioned table is a warning", () => {
    const [finding] = checkTables([{ ...GOOD, missesAttached: true }]);
    expect(finding).toMatchObject({ level: "warning", where: "table orders" });
    expect(finding?.what).toContain("attached while the bridge runs are missed");
    expect(finding?.remedy).toContain("sql/070_guard.sql");
  });
});

test("a webhook whose author lost a right is a problem", () => {
  const [finding] = checkAuthors([{ webhook: "new-order", reason: "role ann may not read orders" }]);
  expect(finding).toMatchObject({
    level: "problem",
    where: "webhook new-order",
    what: "is held: role ann may not read orders",
  });
});
