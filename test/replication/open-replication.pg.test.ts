import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { openReplication } from "../../src/replication/replication-stream.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { cuttableProxy } from "./cuttable-proxy.ts";
import { lateProxy } from "./late-proxy.ts";
import { open, publish } from "./streaming.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase("opening");
  await database.query("create table item (id text primary key)");
  await publish(database, "item");
});

afterAll(() => database.drop());

describe("opening a replication stream", () => {
  it("takes publications by any name, and refuses names that no slot can have", async () => {
    await database.query(`create publication "It's ""odd"", 'isn''t it" for table item`);
    const odd = `It's "odd", 'isn't it`;
    // The slot is older than the publication, which the server tells only when a change is to be sent.
    const stream = await open(database, { publicationNames: [odd, "p"] });
    await stream.stop();
    for (const slotName of ["Upper", "it's", 'a"b', "", "x".repeat(64)]) {
      await expect(open(database, { slotName })).rejects.toThrow(TypeError);
    }
    await expect(open(database, { publicationNames: [] })).rejects.toThrow(TypeError);
  });

  it("fails with 55006 where the slot is in use, and leaves no connection behind", async () => {
    const stream = await open(database);
    await expect(open(database)).rejects.toMatchObject({ code: "55006" });
    await eventually(async () => (await walSenders()) === 1);
    await stream.stop();
    expect(await walSenders()).toBe(0);
  });

  it("fails with 42704 where there is no such slot", async () => {
    await expect(open(database, { slotName: "nobodys" })).rejects.toMatchObject({ code: "42704" });
    await eventually(async () => (await walSenders()) === 0);
  });

  it("fails with 42501 where the role may not replicate", async () => {
    await database.query("create role stream_tester login");
    onTestFinished(async () => {
      await database.query("drop role stream_tester");
    });
    const connection = { connectionString: database.urlAs("stream_tester") };
    await expect(open(database, { connection })).rejects.toMatchObject({ code: "42501" });
  });

  it("fails where nobody answers", async () => {
    const connection = { connectionString: "postgresql://postgres@127.0.0.1:1/none" };
    const options = { connection, slotName: "s", publicationNames: ["p"] };
    await expect(openReplication(options)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("fails with 57P01, and does not end the process, where greeting and end of the connection are read at once", async () => {
    const proxy = await lateProxy(database.url);
    onTestFinished(() => proxy.close());
    const opening = open(database, { connection: { connectionString: proxy.url } });
    opening.catch(() => {});
    await eventually(async () => {
      const { rowCount } = await database.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and backend_type = 'walsender'",
        [database.name],
      );
      return rowCount === 1;
    });
    await expect(opening).rejects.toMatchObject({ code: "57P01" });
  });

  it("fails within its time where the server accepts and then says nothing", async () => {
    const proxy = await cuttableProxy(database.url);
    onTestFinished(() => proxy.close());
    proxy.fallSilent();
    const connection = { connectionString: proxy.url };
    await expect(open(database, { connection, openTimeoutMs: 300 })).rejects.toThrow("in time");
  });
});

async function walSenders(): Promise<number> {
  const { rows } = await database.query(
    "select count(*)::int as n from pg_stat_activity where datname = current_database() and backend_type = 'walsender'",
  );
  return (rows[0] as { n: number }).n;
}
