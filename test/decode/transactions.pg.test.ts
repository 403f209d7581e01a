import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RowChange } from "../../src/decode/row-change.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { publish } from "../replication/streaming.ts";
import { type Decoding, decodeFrom } from "./decoding.ts";

let database: TestDatabase;
let decoding: Decoding;

beforeAll(async () => {
  database = await createDatabase("transactions");
  await database.query("create table item (id int primary key, body text)");
  await publish(database, "item");
  decoding = await decodeFrom(database);
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

function newRows(changes: readonly RowChange[]): unknown[] {
  return changes.map((change) => (change.kind === "insert" ? change.new[0] : change.kind));
}

describe("a transaction", () => {
  it("gives the rows of a COPY places of their own, though they share LSNs", async () => {
    const changes = await changesOf("copy item (id) from program 'seq 1 100'", 100);
    const lsns = new Set(changes.map((change) => change.position.changeLsn));
    expect(lsns.size).toBeLessThan(100);
    const places = new Set(changes.map(({ position }) => `${position.changeLsn}/${position.index}`));
    expect(places.size).toBe(100);
  });

  it("gives nothing that was rolled back to a savepoint", async () => {
    const changes = await changesOf(
      `begin; insert into item values (201); savepoint s; insert into item values (202); rollback to s;
       insert into item values (203); commit; begin; insert into item values (204); rollback;
       insert into item values (205)`,
      3,
    );
    expect(newRows(changes)).toEqual(["201", "203", "205"]);
    expect(changes[0]?.transaction).toBe(changes[1]?.transaction);
  });

  it("comes at COMMIT PREPARED where it was prepared", async () => {
    await database.query("begin; insert into item values (301); prepare transaction 'decode test'");
    await changesOf("insert into item values (302)", 1);
    expect(newRows(await changesOf("commit prepared 'decode test'", 1))).toEqual(["301"]);
  });

  it("comes at its Commit, whenever it began", async () => {
    const slow = await database.connect();
    await slow.query("begin; insert into item values (401)");
    await changesOf("insert into item values (402)", 1);
    const before = decoding.changes.length;
    await slow.query("commit");
    const changes = (await decoding.until(before + 1)).slice(before);
    expect(newRows(changes)).toEqual(["401"]);
  });

  it("may hold logical messages of any size without harm", async () => {
    const changes = await changesOf(
      `select pg_logical_emit_message(true, 'walhook', 'x'), pg_logical_emit_message(false, repeat('p', 5000), repeat('y', 100000));
       insert into item values (501)`,
      1,
    );
    expect(newRows(changes)).toEqual(["501"]);
  });

  it("gives a value of more than 100 MB as unknown and says so, and goes on", async () => {
    const changes = await changesOf(
      "insert into item select 601, repeat('x', 100000001); insert into item values (602, 'small')",
      2,
    );
    expect(changes[0]).toMatchObject({ new: ["601", undefined], oversized: [1] });
    expect(changes[1]).toMatchObject({ new: ["602", "small"] });
    expect(changes[1]).not.toHaveProperty("oversized");
  });
});
