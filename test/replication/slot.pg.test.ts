import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSlot, dropSlot, readSlotStatus } from "../../src/replication/slot.ts";
import { type TestDatabase, createDatabase, serverMajor } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { insertedIds, isActive, open, receive, slotOf } from "./streaming.ts";

let database: TestDatabase;
let connection: { connectionString: string };
let slotName: string;

beforeAll(async () => {
  database = await createDatabase("slot");
  connection = { connectionString: database.url };
  slotName = slotOf(database);
  await database.query("create table item (id text primary key); create publication p for table item");
});

afterAll(() => database.drop());

describe("creating a slot", () => {
  it("shows exactly what committed before its first change, in a snapshot that others can import", async () => {
    await database.query("insert into item values ('before')");
    const seen = await createSlot({ connection, slotName }, async ({ snapshotName, consistentPoint }) => {
      await database.query("insert into item values ('after')");
      const client = await database.connect();
      await client.query("begin isolation level repeatable read");
      await client.query(`set transaction snapshot '${snapshotName}'`);
      const { rows } = await client.query<{ id: string }>("select id from item");
      await client.query("commit");
      expect(await readSlotStatus(database, slotName)).toMatchObject({ confirmedFlushLsn: consistentPoint });
      return rows.map((row) => row.id);
    });
    expect(seen).toEqual(["before"]);
    const stream = await open(database);
    const received = receive(stream);
    await eventually(() => insertedIds(received.frames).length > 0);
    expect(insertedIds(received.frames)).toEqual(["after"]);
    expect(await readSlotStatus(database, slotName)).toMatchObject({ state: "ready", activePid: expect.any(Number) });
    await stream.stop();
    await eventually(async () => !(await isActive(database)));
    expect(await dropSlot(database, slotName)).toBe(true);
  });

  it("leaves no slot behind where its use fails", async () => {
    const creation = createSlot({ connection, slotName }, () => Promise.reject(new Error("use failed")));
    await expect(creation).rejects.toThrow("use failed");
    expect(await readSlotStatus(database, slotName)).toEqual({ state: "missing" });
    expect(await dropSlot(database, slotName)).toBe(false);
  });

  it("names the process it waits for, gives up in time, and leaves no slot behind", async () => {
    const writer = await database.connect();
    await writer.query("begin; insert into item values ('open')");
    const { rows } = await writer.query<{ pid: number }>("select pg_backend_pid() as pid");
    const creation = createSlot({ connection, slotName, timeoutMs: 300 }, () => "created");
    await expect(creation).rejects.toMatchObject({
      code: "slot_creation_blocked",
      message: expect.stringContaining(`process ${rows[0]?.pid} `),
    });
    await eventually(async () => (await readSlotStatus(database, slotName)).state === "missing");
    await writer.query("rollback");
  });

  it("names a prepared transaction it waits for", async () => {
    await database.query("begin; insert into item values ('prepared'); prepare transaction 'blocker'");
    const creation = createSlot({ connection, slotName, timeoutMs: 300 }, () => "created");
    await expect(creation).rejects.toThrow("prepared transaction 'blocker'");
    await database.query("rollback prepared 'blocker'");
  });

  it("fails with 42710 where there is one of that name, and leaves that one alone", async () => {
    await createSlot({ connection, slotName }, () => null);
    await expect(createSlot({ connection, slotName }, () => null)).rejects.toMatchObject({ code: "42710" });
    expect(await readSlotStatus(database, slotName)).toMatchObject({ state: "ready" });
    await dropSlot(database, slotName);
  });

  it("lets a standby take it over where the server can", async () => {
    await createSlot({ connection, slotName, failover: true }, () => null);
    const { rows } = await database.query(
      "select to_jsonb(s) ->> 'failover' as failover from pg_replication_slots s where slot_name = $1",
      [slotName],
    );
    expect(rows).toEqual([{ failover: (await serverMajor(database)) >= 17 ? "true" : null }]);
    await dropSlot(database, slotName);
  });
});
