import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Leaf } from "../../src/decode/relation-tracker.ts";
import type { RowChange } from "../../src/decode/row-change.ts";
import { type TestDatabase, createDatabase, serverMajor } from "../support/database.ts";
import { publish } from "../replication/streaming.ts";
import { type Decoding, decodeFrom } from "./decoding.ts";

let database: TestDatabase;
let decoding: Decoding;
const leaves: Leaf[] = [];

beforeAll(async () => {
  database = await createDatabase("partitions");
  await database.query(`
    create table audit (what text);
    create table orders (id int, region text, note text, primary key (id, region)) partition by list (region);
    create table orders_eu partition of orders for values in ('eu');
    create table orders_us (note text, region text not null, id int not null, primary key (id, region));
    alter table orders attach partition orders_us for values in ('us');
    create table moving (id int, place text, note text) partition by list (place);
    create table moving_a partition of moving for values in ('a');
    create table moving_b partition of moving for values in ('b');
    create table keyed (id int primary key, note text, rest text) partition by range (id);
    create table keyed_1 partition of keyed for values from (0) to (100);
    create table keyed_2 partition of keyed for values from (100) to (200);
    create table keyed_3 partition of keyed for values from (200) to (300);
    alter table keyed replica identity full;
    alter table keyed_1 replica identity full;
    create table nested (id int primary key, note text) partition by range (id);
    create table nested_1 partition of nested for values from (0) to (1000) partition by range (id);
    create table nested_1_1 partition of nested_1 for values from (0) to (100);
  `);
  await publish(database, "orders, moving, keyed, nested, audit");
  decoding = await decodeFrom(database, { onLeaf: (leaf) => leaves.push(leaf) });
});

afterAll(async () => {
  await decoding[Symbol.asyncDispose]();
  await database.drop();
});

async function changesOf(sql: string, count: number): Promise<RowChange[]> {
  const before = decoding.changes.length;
  await database.query(sql);
  return (await decoding.until(before + count)).slice(before);
}

async function oidOf(table: string): Promise<number> {
  const { rows } = await database.query("select $1::regclass::oid::int8::text as oid", [table]);
  return Number((rows[0] as { oid: string }).oid);
}

describe("a partitioned table", () => {
  it("is one table under its root's name, with the root's columns in the root's order", async () => {
    const changes = await changesOf("insert into orders values (1, 'eu', 'n'), (2, 'us', 'm')", 2);
    expect(changes.map((change) => change.relation.table)).toEqual(["orders", "orders"]);
    expect(changes.map((change) => (change.kind === "insert" ? change.new : null))).toEqual([
      ["1", "eu", "n"],
      ["2", "us", "m"],
    ]);
    expect(changes[1]?.relation).toMatchObject({ isPartitioned: true, keyIndexes: [0, 1] });
  });

  it("gives a delete its key under the default identity, whatever the leaf's order of columns", async () => {
    const changes = await changesOf("delete from orders where id in (1, 2)", 2);
    expect(changes.map((change) => (change.kind === "delete" ? change.old : null))).toEqual([
      ["1", "eu", undefined],
      ["2", "us", undefined],
    ]);
  });

  it("tells of each leaf at its first change, and whether it has the full identity", async () => {
    await changesOf("insert into keyed values (1, 'a'), (101, 'b')", 2);
    const rootOid = await oidOf("keyed");
    expect(leaves.filter((leaf) => leaf.rootOid === rootOid)).toEqual([
      { rootOid, leafOid: await oidOf("keyed_1"), hasFullIdentity: true },
      { rootOid, leafOid: await oidOf("keyed_2"), hasFullIdentity: false },
    ]);
  });

  it("does not take a leaf's missing values for NULL, though the server sends them so", async () => {
    const [change] = await changesOf("delete from keyed where id = 101", 1);
    expect(change).toMatchObject({ kind: "delete", old: ["101", undefined, undefined] });
  });

  it("knows a whole old row by a value outside the key, also where some leaves do not send one", async () => {
    const [change] = await changesOf("update keyed set note = 'c' where id = 1", 1);
    expect(change).toMatchObject({ kind: "update", old: ["1", "a", null], new: ["1", "c", null] });
  });

  it("takes NULLs for unknown where the change can be of a leaf that does not send them", async () => {
    await changesOf("insert into keyed values (2)", 1);
    const [change] = await changesOf("update keyed set note = 'c' where id = 2", 1);
    expect(change).toMatchObject({ kind: "update", old: ["2", undefined, undefined] });
  });

  it("takes NULLs for NULL right after the leaf was described, and once all leaves have the full identity", async () => {
    await changesOf("insert into keyed values (3), (103), (203)", 3);
    await database.query("alter table keyed_3 replica identity full");
    const [first] = await changesOf("delete from keyed where id = 203", 1);
    expect(first).toMatchObject({ old: ["203", null, null] });
    await database.query("alter table keyed_2 replica identity full");
    const [second] = await changesOf("delete from keyed where id = 103", 1);
    expect(second).toMatchObject({ old: ["103", null, null] });
    const [third] = await changesOf("delete from keyed where id = 3", 1);
    expect(third).toMatchObject({ old: ["3", null, null] });
  });

  it("is its topmost table, over any number of levels", async () => {
    const [change] = await changesOf("insert into nested values (5, 'n')", 1);
    expect(change?.relation).toMatchObject({ table: "nested", keyIndexes: [0], isPartitioned: true });
    const rootOid = await oidOf("nested");
    expect(leaves.at(-1)).toEqual({ rootOid, leafOid: await oidOf("nested_1_1"), hasFullIdentity: false });
  });

  it("takes in partitions that are made, attached and detached while it is read", async () => {
    // PostgreSQL 14 asks only once a connection whether a table is published, unless a publication is altered.
    const renew =
      (await serverMajor(database)) < 15 ? "alter publication p set (publish_via_partition_root = true);" : "";
    const changes = await changesOf(
      `create table nested_1_2 partition of nested_1 for values from (100) to (200);
       insert into nested values (150, 'made');
       create table free (note text, id int primary key);
       insert into free values ('before', 250);
       alter table nested_1 attach partition free for values from (200) to (300);
       ${renew}
       insert into nested values (251, 'attached');
       alter table nested_1 detach partition free;
       ${renew}
       insert into free values ('after', 252);
       insert into nested values (151, 'last')`,
      3,
    );
    expect(changes.map((change) => (change.kind === "insert" ? change.new[1] : null))).toEqual([
      "made",
      "attached",
      "last",
    ]);
  });

  it("is truncated as a whole; a leaf's TRUNCATE is not sent", async () => {
    const changes = await changesOf("truncate nested_1_1; truncate nested; insert into nested values (7)", 2);
    expect(changes.map((change) => [change.kind, change.relation.table])).toEqual([
      ["truncate", "nested"],
      ["insert", "nested"],
    ]);
  });
});

describe("a row that moves between partitions", () => {
  beforeAll(async () => {
    await database.query(`
      create function note() returns trigger language plpgsql as $$
        begin insert into audit values ('arrived ' || new.id); return new; end $$;
      create trigger noted before insert on orders_us for each row execute function note();
    `);
  });

  it("is one update that changes its key, also where triggers write elsewhere in between", async () => {
    const changes = await changesOf(
      "insert into orders values (9, 'eu', 'n'); update orders set region = 'us' where id = 9",
      3,
    );
    expect(changes.map((change) => [change.kind, change.relation.table])).toEqual([
      ["insert", "orders"],
      ["insert", "audit"],
      ["update", "orders"],
    ]);
    expect(changes[2]).toMatchObject({ old: ["9", "eu", undefined], new: ["9", "us", "n"] });
  });

  it("is one update a row where many move", async () => {
    await changesOf("insert into orders select g, 'us', 'm' from generate_series(100, 199) g", 200);
    const changes = await changesOf("update orders set region = 'eu' where id between 100 and 199", 100);
    expect(new Set(changes.map((change) => change.kind))).toEqual(new Set(["update"]));
  });

  it("stays a DELETE and an INSERT where its table has no primary key", async () => {
    await changesOf("insert into moving values (1, 'a', 'n')", 1);
    await database.query("alter table moving replica identity full");
    await database.query("alter table moving_a replica identity full");
    await database.query("alter table moving_b replica identity full");
    const changes = await changesOf("update moving set place = 'b'", 2);
    expect(changes.map((change) => change.kind)).toEqual(["delete", "insert"]);
  });

  it("is not seen in two rows of a device, which is named by its time", async () => {
    await database.query(`
      create table device (id int primary key);
      create table reading (device int references device, at int, primary key (device, at)) partition by range (at);
      create table reading_1 partition of reading for values from (0) to (100);
      insert into device values (1);
      alter publication p add table reading;
    `);
    const changes = await changesOf(
      "insert into reading values (1, 5); delete from reading; insert into reading values (1, 6)",
      3,
    );
    expect(changes.map((change) => change.kind)).toEqual(["insert", "delete", "insert"]);
  });
});

describe("waiting for the other half of a moved row", () => {
  it("holds back nothing for longer than the transaction", async () => {
    await changesOf("insert into orders values (500, 'eu', 'n')", 1);
    const [change] = await changesOf("delete from orders where id = 500", 1);
    expect(change).toMatchObject({ kind: "delete", old: ["500", "eu", undefined] });
  });
});
