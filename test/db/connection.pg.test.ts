import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, connectionConfig, displayUrl, PINNED_SETTINGS, pinStatements } from "../../src/db/connection.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";

function tlsOf(query: string): unknown {
  return new pg.Client(connectionConfig(`postgresql://a@h/shop?${query}`, "test")).ssl;
}

describe("the connection string", () => {
  test.each(["require", "verify-ca", "prefer", "verify-full"])("sslmode=%s checks the certificate", (mode) => {
    const client = new pg.Client(connectionConfig(`postgresql://a@h/shop?sslmode=${mode}`, "test"));
    expect(client.ssl).not.toBe(false);
    expect(client.ssl).not.toHaveProperty("rejectUnauthorized", false);
  });

  test("sslmode=disable is plain, no-verify does not check, uselibpqcompat means what libpq means", () => {
    expect(tlsOf("sslmode=disable")).toBe(false);
    expect(tlsOf("sslmode=no-verify")).toMatchObject({ rejectUnauthorized: false });
    expect(tlsOf("sslmode=require&uselibpqcompat=true")).toMatchObject({ rejectUnauthorized: false });
  });

  test("an unknown sslmode is refused, not read as none", () => {
    expect(() => connectionConfig("postgresql://a@h/shop?sslmode=required", "test")).toThrow(/sslmode=required/);
  });

  test.each(["shop", "mysql://a@h/shop", "", "postgresql://a:secret#x@h/shop"])("%j is refused unrepeated", (url) => {
    expect(() => connectionConfig(url, "test")).toThrow(
      expect.objectContaining({ code: "bad_database_url", exitCode: 2 }),
    );
    expect(() => connectionConfig(url, "test")).not.toThrow(/secret/);
  });

  test("is shown without password and parameters", () => {
    expect(displayUrl("postgresql://a:secret@h:1/shop?password=secret&sslkey=k")).toBe("postgresql://a@h:1/shop");
    expect(displayUrl("postgresql://a@/shop?host=/run")).toContain("/shop");
  });
});

describe("connect", () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase("connection");
  });
  afterAll(() => database.drop());

  test("names itself in pg_stat_activity", async () => {
    const client = await connect(database.url, "walhook test");
    const { rows } = await client.query("select current_setting('application_name') as name");
    expect(rows).toEqual([{ name: "walhook test" }]);
    await client.end();
  });

  test("an unknown database, a missing role and a closed port each say what to do", async () => {
    const refused = await connect("postgresql://a@127.0.0.1:1/shop", "t").catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "database_down", kind: "retry", exitCode: 4 });
    const unknown = await connect(database.url.replace(/\/[^/]*$/, "/nowhere"), "t").catch((error: unknown) => error);
    expect(unknown).toMatchObject({ code: "database_unknown", exitCode: 3 });
    const role = await connect(database.urlAs("no_such_role"), "t").catch((error: unknown) => error);
    expect(role).toMatchObject({ code: "login_refused", exitCode: 3 });
    const tls = await connect(`${database.url}?sslmode=require`, "t").catch((error: unknown) => error);
    expect(tls).toMatchObject({ code: "tls_unsupported", exitCode: 3 });
    const file = await connect(`${database.url}?sslrootcert=/no/such.pem`, "t").catch((error: unknown) => error);
    expect(file).toMatchObject({ code: "file_missing", exitCode: 3 });
  });

  test("pinned settings hold for the session, or for one transaction", async () => {
    await using own = await createDatabase("pinned");
    await own.query(`alter database "${own.name}" set TimeZone = 'Asia/Tokyo'`);
    const client = await own.connect();
    const zone = async (): Promise<unknown> =>
      (await client.query<{ zone: string }>("select current_setting('TimeZone') as zone")).rows[0]?.zone;
    await client.query(`begin; ${pinStatements("local")}`);
    expect(await zone()).toBe("UTC");
    await client.query("commit");
    expect(await zone()).toBe("Asia/Tokyo");
    await client.query(pinStatements("session"));
    for (const [name, value] of Object.entries(PINNED_SETTINGS)) {
      const { rows } = await client.query("select current_setting($1) as value", [name]);
      expect(rows).toEqual([{ value }]);
    }
  });
});
