import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("backfill_keys");
});
afterEach(() => system.drop());

async function backfill(condition: string | null = null): Promise<readonly string[]> {
  await system.webhook("w", "orders", "on_trash");
  await system.startBridge();
  await system.db.queryAs(system.roles.admin, "select walhook.backfill('w', $1)", [condition]);
  await eventually(
    async () => (await system.look("select from walhook.backfill_progress where state = 'done'")).length === 1,
  );
  await system.settled();
  return system.received("w").map(({ body }) => (JSON.parse(body.toString()) as { data: { name: string } }).data.name);
}
const errors = async () =>
  (await system.look("select docname from walhook.webhook_request_log where outcome = 'error'")).map(
    ({ docname }) => docname,
  );

describe("one row for which a backfill's condition fails", () => {
  it("harms itself alone in a table of hash partitions, which are read side by side", async () => {
    await system.app(`create table orders (id int primary key) partition by hash (id);
      create table o0 partition of orders for values with (modulus 3, remainder 0);
      create table o1 partition of orders for values with (modulus 3, remainder 1);
      create table o2 partition of orders for values with (modulus 3, remainder 2);
      insert into orders select n from generate_series(1, 200) n`);
    expect(await backfill("1 / (doc.id - 100) is not null")).toHaveLength(199);
    expect(await errors()).toEqual(["100"]);
  });

  it("harms itself alone where it is the first of its partition, which is looked at before all others", async () => {
    await system.app(`create table orders (id int, region int, primary key (id, region)) partition by list (region);
      create table o0 partition of orders for values in (0);
      create table o1 partition of orders for values in (1);
      insert into orders select n, case when n > 90 then 1 else 0 end from generate_series(1, 100) n`);
    expect(await backfill("1 / (doc.id - 91) is not null")).toHaveLength(99);
    expect(await errors()).toEqual(['["91","1"]']);
  });
});

describe("a key whose operators are not in the search_path of who asks", () => {
  beforeEach(async () => {
    await system.look("create schema ext; create extension citext schema ext; grant usage on schema ext to public");
  });
  it("is compared as its index compares it", async () => {
    await system.app(`create table orders (id ext.citext primary key);
      insert into orders select case when n % 2 = 0 then 'a' else 'B' end || lpad(n::text, 5, '0') from generate_series(1, 1200) n`);
    const sent = await backfill();
    expect([sent.length, new Set(sent).size]).toEqual([1200, 1200]);
  });
  it("is so beside other columns of the key", async () => {
    await system.app(`create table orders (region int, id ext.citext, day date, primary key (region, id, day));
      insert into orders select n % 3, case when n % 2 = 0 then 'a' else 'B' end || lpad((n % 7)::text, 3, '0'), date '2026-01-01' + n from generate_series(1, 1300) n`);
    const sent = await backfill();
    expect([sent.length, new Set(sent).size]).toEqual([1300, 1300]);
  });
});
