import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("doc_events");
  await system.startBridge();
});
afterAll(() => system.drop());

const EVERY = "after_insert, on_update, on_change, on_trash, on_truncate";
const SUBMITTABLE = `${EVERY}, on_submit, on_cancel, on_update_after_submit`;

interface Payload {
  readonly type: string;
  readonly data: Readonly<Record<string, any>>;
}

const payloads = (webhook: string): Payload[] =>
  system.received(webhook).map(({ body }) => JSON.parse(body.toString("utf8")) as Payload);

/** What arrived at a webhook, "event docname", with "<- old docname" where the key changed. */
const events = (webhook: string): string[] =>
  payloads(webhook).map(
    ({ data }) =>
      `${data["event"]} ${data["name"] ?? "-"}${data["old_name"] === undefined ? "" : ` <- ${data["old_name"]}`}`,
  );

/** Documents are lanes of their own, so order is compared within a document only. */
const sorted = (texts: readonly string[]): string[] => texts.toSorted();

async function expectEvents(webhook: string, expected: readonly string[]): Promise<void> {
  await system.settled();
  await eventually(() => events(webhook).length >= expected.length, { withinMs: 5_000 }).catch(() => {});
  expect(sorted(events(webhook))).toEqual(sorted(expected));
}

describe("doc events reach their webhook", () => {
  it("for an ordinary table, in the order of the document", async () => {
    await system.app("create table item (id integer primary key, name text)");
    await system.webhook("item", "item", EVERY);
    await system.app("insert into item values (1, 'a')");
    await system.app("update item set name = 'b' where id = 1");
    await system.app("update item set name = 'b' where id = 1");
    await system.app("delete from item where id = 1");
    await system.app("truncate item");
    await system.settled();
    expect(events("item")).toEqual([
      "after_insert 1",
      "on_change 1",
      "on_update 1",
      "on_change 1",
      "on_update 1",
      "on_trash 1",
      "on_truncate -",
    ]);
    const [, , update, , , trash, truncate] = payloads("item");
    expect(update!.data).toMatchObject({ doc: { name: "b" }, old: { name: "a" }, changed: ["name"] });
    expect(trash!.data["doc"]).toEqual({ id: 1, name: "b" });
    expect(truncate!.data["doc"]).toBeUndefined();
  });

  it("for a composite key, whose docname is a JSON array of texts", async () => {
    await system.app(`create table stock (warehouse text, item integer, qty integer, primary key (warehouse, item))`);
    await system.webhook("stock", "stock", EVERY);
    await system.app(`insert into stock values ('A "1"', 7, 1)`);
    await system.app("update stock set qty = 2");
    await system.app("update stock set item = 8");
    await system.app("delete from stock");
    const [before, after] = [JSON.stringify(['A "1"', "7"]), JSON.stringify(['A "1"', "8"])];
    await expectEvents("stock", [
      `after_insert ${before}`,
      `on_change ${before}`,
      `on_update ${before}`,
      `on_change ${before}`,
      `on_update ${after} <- ${before}`,
      `on_change ${after} <- ${before}`,
      `on_trash ${after}`,
    ]);
  });

  it("for a table without a key: inserts with its identity left alone, updates and deletes by FULL", async () => {
    await system.app("create table journal (line text); create table ledger (line text)");
    await system.webhook("journal", "journal", "after_insert");
    await system.app("insert into journal values ('a'), ('b')");
    await system.app("update journal set line = 'c'; delete from journal");
    await expectEvents("journal", ["after_insert -", "after_insert -"]);
    const [identity] = await system.look("select relreplident from pg_class where relname = 'journal'");
    expect(identity).toEqual({ relreplident: "d" });
    await system.webhook("ledger", "ledger", EVERY);
    await system.app("insert into ledger values ('a')");
    await system.app("update ledger set line = 'b'");
    await system.app("delete from ledger");
    await expectEvents("ledger", ["after_insert -", "on_change -", "on_update -", "on_change -", "on_trash -"]);
  });

  it("for quoted and mixed-case names, and for another schema", async () => {
    await system.app(`create table "Sales Order" ("Order No" text primary key, "Total" numeric)`);
    await system.look(`create schema "Shop" authorization "${system.roles.app}"`);
    await system.app(`grant usage on schema "Shop" to "${system.roles.admin}"`);
    await system.app(`create table "Shop"."Till Roll" (id bigint primary key)`);
    await system.webhook("quoted", `"Sales Order"`, EVERY);
    await system.webhook("schema", `"Shop"."Till Roll"`, EVERY);
    await system.app(`insert into "Sales Order" values ('SO-Ä 1', 1.50)`);
    await system.app(`update "Sales Order" set "Total" = 2`);
    await system.app(`insert into "Shop"."Till Roll" values (1)`);
    await expectEvents(
      "quoted",
      ["after_insert", "on_change", "on_update", "on_change"].map((name) => `${name} SO-Ä 1`),
    );
    await expectEvents("schema", ["after_insert 1", "on_change 1"]);
    expect(payloads("quoted")[0]!).toMatchObject({
      type: "Sales_Order.after_insert",
      data: { doctype: "Sales Order" },
    });
    expect(payloads("schema")[0]!.data["doctype"]).toBe("Shop.Till Roll");
  });

  it("with both names where the key changes, also at the default identity", async () => {
    await system.app("create table party (code text primary key, name text)");
    await system.webhook("party", "party", "after_insert, on_update");
    await system.app("insert into party values ('old', 'x')");
    await system.app("update party set code = 'new'");
    await expectEvents("party", ["after_insert old", "on_update new <- old"]);
    const [identity] = await system.look("select relreplident from pg_class where relname = 'party'");
    expect(identity).toEqual({ relreplident: "d" });
  });

  it("told apart by docstatus before and after, NULL included", async () => {
    await system.app("create table invoice (id integer primary key, docstatus smallint)");
    await system.webhook("invoice", "invoice", SUBMITTABLE);
    const states = ["0", "1", "2", "null"];
    const rules: Record<string, string[]> = {
      "0 1": ["on_update", "on_submit"],
      "1 1": ["on_update_after_submit"],
      "1 2": ["on_cancel"],
    };
    const expected: string[] = [];
    let id = 0;
    for (const from of states) {
      for (const to of states) {
        id++;
        await system.app(`insert into invoice values (${id}, ${from})`);
        await system.app(`update invoice set docstatus = ${to} where id = ${id}`);
        const names = ["after_insert", ...(from === "1" ? ["on_submit"] : []), "on_change"];
        names.push(...(rules[`${from} ${to}`] ?? ["on_update"]), ...(from === to ? [] : ["on_change"]));
        expected.push(...names.map((name) => `${name} ${id}`));
      }
    }
    await expectEvents("invoice", expected);
    for (let each = 1; each <= id; each++) {
      const of = (texts: readonly string[]): string[] => texts.filter((text) => text.endsWith(` ${each}`));
      expect(of(events("invoice"))).toEqual(of(expected));
    }
  });

  it("refuses docstatus events on a table without that column", async () => {
    await expect(system.webhook("no-docstatus", "item", "on_submit")).rejects.toThrow(/docstatus/);
  });

  it("after a TRUNCATE of several tables: one event for each that is watched", async () => {
    await system.app("create table t1 (id integer primary key); create table t2 (id integer references t1)");
    await system.webhook("t1", "t1", "on_truncate");
    await system.webhook("t2", "t2", "after_insert, on_truncate");
    await system.app("insert into t1 values (1); insert into t2 values (1)");
    await system.app("truncate t1 cascade");
    await expectEvents("t1", ["on_truncate -"]);
    await expectEvents("t2", ["after_insert -", "on_truncate -"]);
  });
});

describe("doc events of a partitioned table", () => {
  it("carry the root's name, with partitions added, attached and detached while the bridge runs", async () => {
    await system.app(`
      create table sale (id integer, region text, qty integer, primary key (region, id)) partition by list (region);
      create table sale_eu partition of sale for values in ('eu');
    `);
    await system.webhook("sale", "sale", EVERY);
    await system.app("insert into sale values (1, 'eu', 1)");
    await system.app("create table sale_us partition of sale for values in ('us')");
    await system.app("insert into sale values (2, 'us', 1)");
    await system.app("update sale set qty = 2 where id = 2");
    await system.app("create table sale_asia (like sale including all); insert into sale_asia values (3, 'asia', 1)");
    await system.app("alter table sale attach partition sale_asia for values in ('asia')");
    await system.app("insert into sale values (4, 'asia', 1)");
    await system.app("alter table sale detach partition sale_eu");
    await system.app("insert into sale_eu values (5, 'eu', 1); update sale_eu set qty = 9");
    await system.app("delete from sale where id = 4");
    const name = (region: string, id: number): string => JSON.stringify([region, String(id)]);
    await expectEvents("sale", [
      `after_insert ${name("eu", 1)}`,
      `on_change ${name("eu", 1)}`,
      `after_insert ${name("us", 2)}`,
      `on_change ${name("us", 2)}`,
      `on_update ${name("us", 2)}`,
      `on_change ${name("us", 2)}`,
      `after_insert ${name("asia", 4)}`,
      `on_change ${name("asia", 4)}`,
      `on_trash ${name("asia", 4)}`,
    ]);
    expect(new Set(payloads("sale").map(({ data }) => data["doctype"]))).toEqual(new Set(["sale"]));
  });

  it("are one on_update where a row moves to another partition", async () => {
    await system.app(`
      create table shift (id integer, day integer, note text, primary key (id, day)) partition by range (day);
      create table shift_1 partition of shift for values from (0) to (10);
      create table shift_2 partition of shift for values from (10) to (20);
    `);
    await system.webhook("shift", "shift", EVERY);
    await system.app("insert into shift values (1, 1, 'x')");
    await system.app("update shift set day = 11 where id = 1");
    const [a, b] = [JSON.stringify(["1", "1"]), JSON.stringify(["1", "11"])];
    await expectEvents("shift", [
      `after_insert ${a}`,
      `on_change ${a}`,
      `on_update ${b} <- ${a}`,
      `on_change ${b} <- ${a}`,
    ]);
    expect(payloads("shift")[2]!.data).toMatchObject({
      doc: { id: 1, day: 11, note: "x" },
      old: { id: 1, day: 1, note: "x" },
      changed: ["day"],
    });
  });

  it("is refused on a partition, with the root in the hint", async () => {
    await expect(system.webhook("leaf", "shift_1", "after_insert")).rejects.toMatchObject({
      hint: expect.stringContaining("shift"),
    });
  });
});
