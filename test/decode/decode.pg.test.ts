import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endOfTransaction } from "../../src/decode/chunk.ts";
import { comparePositions } from "../../src/decode/position.ts";
import type { RowChange } from "../../src/decode/row-change.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { publish } from "../replication/streaming.ts";
import { type Decoding, decodeFrom } from "./decoding.ts";

let database: TestDatabase;
let decoding: Decoding;

beforeAll(async () => {
  database = await createDatabase("decode");
  await database.query(`
    create schema "Odd Schema";
    create type mood as enum ('sad', 'ok');
    create domain positive as numeric check (value > 0);
    create table plain (id int primary key, name text, amount numeric(10, 2));
    create table "Odd Schema"."Mixed Case" ("Key" text, part int, note text, primary key (part, "Key"));
    create table whole (id bigint primary key, big text, docstatus smallint);
    create table short (id int primary key, big text);
    alter table short alter big set storage external;
    alter table whole alter big set storage external;
    create table keyless (value text);
    create table generated (id int primary key, a int, b int generated always as (a * 2) stored);
    create table other (id int primary key);
    create table configuration (id int primary key, template text);
    alter table whole replica identity full;
    alter table configuration replica identity full;
    alter table configuration alter template set storage external;
  `);
  await publish(database, 'plain, "Odd Schema"."Mixed Case", whole, short, keyless, generated, other, configuration');
  const { rows } = await database.query("select 'configuration'::regclass::oid::int8 as oid");
  const oid = Number((rows[0] as { oid: string }).oid);
  decoding = await decodeFrom(database, { configurationOids: new Map([[oid, "webhook"]]) });
});

afterAll(async () => {
  await decoding[Symbol.asyncDispose]();
  await database.drop();
});

/** Runs a statement and returns the changes that it made. */
async function changesOf(sql: string, count: number): Promise<RowChange[]> {
  const before = decoding.changes.length;
  await database.query(sql);
  return (await decoding.until(before + count)).slice(before);
}

function toldBytes(): number {
  return decoding.chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
}

describe("decode", () => {
  it("gives an insert with its table, key and raw texts", async () => {
    const [change] = await changesOf("insert into plain values (1, 'a', 2.50)", 1);
    expect(change).toMatchObject({
      kind: "insert",
      new: ["1", "a", "2.50"],
      relation: { schema: "public", table: "plain", doctype: "plain", keyIndexes: [0], docstatusIndex: -1 },
    });
    expect(change?.relation.columns.map((column) => column.json.kind)).toEqual(["number", "text", "number"]);
  });

  it("tells SQL NULL from an empty text", async () => {
    const [change] = await changesOf("insert into plain values (2, null, null), (3, '', 0)", 2);
    expect(change).toMatchObject({ new: ["2", null, null] });
    expect(decoding.changes.at(-1)).toMatchObject({ new: ["3", "", "0.00"] });
  });

  it("knows nothing of the row before an update under the default replica identity", async () => {
    const [change] = await changesOf("update plain set name = 'b' where id = 1", 1);
    expect(change).toMatchObject({ kind: "update", new: ["1", "b", "2.50"], old: null });
  });

  it("knows the old key where an update changed it, and nothing else of the old row", async () => {
    const [change] = await changesOf("update plain set id = 10 where id = 1", 1);
    expect(change).toMatchObject({ kind: "update", old: ["1", undefined, undefined], new: ["10", "b", "2.50"] });
  });

  it("gives a delete its key", async () => {
    const [change] = await changesOf("delete from plain where id = 10", 1);
    expect(change).toMatchObject({ kind: "delete", old: ["10", undefined, undefined] });
  });

  it("orders a composite key as the primary key does, and names tables outside public with their schema", async () => {
    const [change] = await changesOf(`insert into "Odd Schema"."Mixed Case" values ('k', 7, 'n')`, 1);
    expect(change).toMatchObject({
      relation: { doctype: "Odd Schema.Mixed Case", keyIndexes: [1, 0] },
      new: ["k", "7", "n"],
    });
  });

  it("finds the primary key under FULL too, where every column is flagged", async () => {
    const [change] = await changesOf("insert into whole values (1, 'x', 0)", 1);
    expect(change?.relation).toMatchObject({ keyIndexes: [0], docstatusIndex: 2 });
  });

  it("gives the whole old row under FULL, and fills an unchanged TOAST value from it", async () => {
    await changesOf("insert into whole values (2, repeat('x', 100000), 0)", 1);
    const [change] = await changesOf("update whole set docstatus = 1 where id = 2", 1);
    const text = "x".repeat(100_000);
    expect(change).toMatchObject({ kind: "update", old: ["2", text, "0"], new: ["2", text, "1"] });
  });

  it("leaves an unchanged TOAST value unknown where the old row is not whole", async () => {
    await changesOf("insert into short values (1, repeat('x', 100000))", 1);
    const [change] = await changesOf("update short set id = 2", 1);
    expect(change).toMatchObject({ kind: "update", old: ["1", undefined], new: ["2", undefined] });
  });

  it("gives a table without primary key no key", async () => {
    const [change] = await changesOf("insert into keyless values ('v')", 1);
    expect(change).toMatchObject({ relation: { keyIndexes: [] }, new: ["v"] });
  });

  it("lists generated columns that the stream does not carry", async () => {
    const [change] = await changesOf("insert into generated values (1, 2)", 1);
    const columns = change?.relation.columns.map((column) => column.name) ?? [];
    expect([...columns, ...(change?.relation.omitted ?? [])]).toEqual(["id", "a", "b"]);
  });

  it("gives one change a table for a TRUNCATE of several, each with its own index", async () => {
    const changes = await changesOf("truncate plain, other", 2);
    expect(changes.map((change) => [change.kind, change.position.index])).toEqual([
      ["truncate", 0],
      ["truncate", 1],
    ]);
    expect(changes.map((change) => change.relation.table).toSorted()).toEqual(["other", "plain"]);
    expect(changes[0]?.position.changeLsn).toBe(changes[1]?.position.changeLsn);
  });

  it("gives each row of a COPY-like insert a place of its own, in increasing order", async () => {
    const changes = await changesOf("insert into plain select g, 'r', 0 from generate_series(100, 1099) g", 1000);
    const steps = changes.slice(1).map((change, index) => comparePositions(changes[index]!.position, change.position));
    expect(steps.every((step) => step < 0)).toBe(true);
    expect(decoding.chunks.every((chunk) => chunk.changes.length <= 500)).toBe(true);
  });

  it("describes a table as it stood at each change, also inside one transaction", async () => {
    const changes = await changesOf(
      `begin;
       insert into other values (1);
       alter table other add note text;
       insert into other values (2, 'n');
       alter table other rename note to remark;
       insert into other values (3, 'r');
       commit`,
      3,
    );
    expect(changes.map((change) => change.relation.columns.map((column) => column.name))).toEqual([
      ["id"],
      ["id", "note"],
      ["id", "remark"],
    ]);
  });

  it("finds a primary key column that has been renamed since", async () => {
    const changes = await changesOf(
      `begin; insert into other values (4, 'n'); alter table other rename id to number; commit`,
      1,
    );
    expect(changes[0]?.relation).toMatchObject({ keyIndexes: [0], columns: [{ name: "id" }, { name: "remark" }] });
    await database.query("alter table other rename number to id");
  });

  it("ends a chunk right after the Commit of a transaction that changed the configuration, with all its rows", async () => {
    const before = decoding.chunks.length;
    await changesOf(
      `begin;
       insert into plain values (5001, 'before', 0);
       insert into configuration values (1, repeat('t', 100000)), (2, 'u');
       update configuration set id = 3 where id = 1;
       delete from configuration where id = 2;
       insert into plain values (5002, 'after', 0);
       commit;
       insert into plain values (5003, 'next', 0)`,
      3,
    );
    const text = "t".repeat(100_000);
    const seen = decoding.chunks.slice(before);
    const chunks = seen.filter((chunk) => chunk.configuration.length > 0);
    expect(chunks).toHaveLength(1);
    expect(chunks[0]?.configuration).toEqual([
      { table: "webhook", kind: "insert", row: { id: "1", template: text } },
      { table: "webhook", kind: "insert", row: { id: "2", template: "u" } },
      { table: "webhook", kind: "update", row: { id: "3", template: text } },
      { table: "webhook", kind: "delete", row: { id: "2", template: "u" } },
    ]);
    // The transaction may have come in several reads: its changes then stand in the chunks before.
    const last = seen
      .slice(0, seen.indexOf(chunks[0]!) + 1)
      .flatMap(({ changes }) => changes)
      .at(-1);
    expect(last).toMatchObject({ new: ["5002", "after", "0.00"] });
    expect(chunks[0]?.position).toEqual(endOfTransaction(last?.transaction.commitLsn ?? 0n));
  });

  it("fails where a change is of a table that was dropped meanwhile only if nothing can be known", async () => {
    await database.query("create table gone (id int primary key, tags text[], at timestamptz)");
    await database.query("alter publication p add table gone");
    const [change] = await changesOf("insert into gone values (1, '{a}', 'epoch'); drop table gone", 1);
    expect(change).toMatchObject({ new: ["1", "{a}", "1970-01-01 00:00:00+00"], relation: { keyIndexes: [0] } });
    expect(change?.relation.columns.map((column) => column.json.kind)).toEqual(["number", "array", "timestamptz"]);
  });

  it("counts every received byte in exactly one chunk", async () => {
    await changesOf("insert into plain values (6000, 'last', 0)", 1);
    await eventually(() => toldBytes() === decoding.receivedBytes);
    expect(toldBytes()).toBeGreaterThan(0);
  });

  it("tells an LSN that is safe to acknowledge for transactions that are not published", async () => {
    const before = decoding.chunks.at(-1)?.flushLsn ?? 0n;
    await database.query("create table unpublished (id int)");
    await eventually(() => (decoding.chunks.at(-1)?.flushLsn ?? 0n) > before);
    expect(decoding.error).toBeNull();
  });

  it("reads the commit time in microseconds and the transaction id", async () => {
    const [change] = await changesOf("insert into plain values (7000, 'time', 0)", 1);
    const { rows } = await database.query(
      "select (extract(epoch from clock_timestamp()) * 1000000)::int8 as now, xmin::text::int8 as xid from plain where id = 7000",
    );
    const { now, xid } = rows[0] as { now: string; xid: string };
    expect(change?.transaction.xid).toBe(Number(xid));
    expect(Number(BigInt(now) - (change?.transaction.commitTimeUs ?? 0n))).toBeLessThan(60_000_000);
    expect(Number(BigInt(now) - (change?.transaction.commitTimeUs ?? 0n))).toBeGreaterThan(0);
  });
});
