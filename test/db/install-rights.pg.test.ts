import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startPostgres, type PostgresServer } from "../../demo/postgres.ts";
import { migrate, migrationFiles } from "../../src/db/migrate.ts";

const run = promisify(execFile);

/** A server of its own: roles belong to the whole cluster, and here there are none yet. */
let server: PostgresServer;
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "walhook-roles-"));
  await chmod(dir, 0o755);
  const native = process.env["WALHOOK_TEST_NATIVE"];
  server = await startPostgres({
    dataDir: join(dir, "data"),
    ...(native === undefined ? {} : { nativeDir: native }),
    settings: ["fsync=off"],
  });
});
afterAll(async () => {
  await server.stop("immediate");
  await rm(dir, { recursive: true, force: true });
});

async function as<T>(role: string, database: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: server.url(database, role) });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function sql(role: string, database: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const result = await as(role, database, (client) => client.query(text));
  return Array.isArray(result) ? [] : (result.rows as Record<string, unknown>[]);
}

const install = (role: string, database: string): Promise<readonly string[]> => as(role, database, migrate);

/** The webhook that four columns make, its table's owner, and what the application does then. */
async function tryWebhook(role: string, database: string): Promise<void> {
  await sql(role, database, "create table orders (id int primary key, status text)");
  await sql(
    role,
    database,
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition, webhook_secret)
     values ('w', 'orders', 'after_insert, on_trash', 'https://example.com', 'doc.status = ''Paid''', 'secret')`,
  );
  await sql(
    role,
    database,
    "insert into orders values (1, 'Paid'); update orders set status = 'x'; delete from orders",
  );
}

/** What `walhook accept-gap` does about publications that are gone, with the rights of whoever installed. */
async function tryRepair(role: string, database: string): Promise<void> {
  await sql(role, database, "drop publication walhook_insert, walhook_all");
  expect(await sql(role, database, "select kind from walhook.publication_problems()")).toHaveLength(2);
  await sql(role, database, "select walhook.repair_publications()");
  expect(await sql(role, database, "select problem from walhook.publication_problems()")).toEqual([]);
  const owners = "select distinct pubowner = (select nspowner from pg_namespace where nspname = 'walhook') as same";
  expect(await sql(role, database, `${owners} from pg_publication`)).toEqual([{ same: true }]);
  const published = await sql(
    role,
    database,
    "select tablename::text as name from pg_publication_tables where pubname = 'walhook_all' order by 1",
  );
  expect(published.map(({ name }) => name)).toEqual([
    "backfill_request",
    "backfill_watermark",
    "orders",
    "paused",
    "repair",
    "webhook",
    "webhook_data",
    "webhook_header",
    "webhook_secret",
  ]);
}

describe("installing", () => {
  it("without CREATEROLE, where no role of Walhook exists: the installing role owns everything and is the bridge", async () => {
    await sql("postgres", "postgres", "create role plain login replication");
    await sql("postgres", "postgres", "create database plain owner plain");
    const said = (await install("plain", "plain")).join("\n");
    expect(said).toContain("role walhook_owner does not exist and plain may not create it: skipped");
    expect(said).toContain("walhook_guard is left out");
    await tryWebhook("plain", "plain");
    expect(
      await sql(
        "plain",
        "plain",
        "select distinct pg_get_userbyid(proowner) as owner from pg_proc where pronamespace = 'walhook'::regnamespace",
      ),
    ).toEqual([{ owner: "plain" }]);
    const asked = await sql(
      "plain",
      "plain",
      "select walhook.ask(condition_function, array['{Paid}'], array[null], array['after_insert']) as a from walhook.webhook",
    );
    expect(asked).toHaveLength(1);
    await sql("plain", "plain", "select walhook.author_rights()");
    await tryRepair("plain", "plain");
    expect(await sql("postgres", "postgres", "select from pg_roles where rolname like 'walhook%'")).toEqual([]);
  });

  it("needs CREATE on the database, and says how to get it", async () => {
    await sql("postgres", "postgres", "create role poor login");
    await sql("postgres", "postgres", "create database rich");
    await expect(install("poor", "rich")).rejects.toMatchObject({
      code: "install_failed",
      hint: expect.stringContaining("grant create on database rich to poor") as string,
    });
  });

  it("with CREATEROLE: walhook_owner owns what it can, without a superuser", async () => {
    await sql("postgres", "postgres", "create role creator login createrole");
    await sql("postgres", "postgres", "create database created owner creator");
    await install("creator", "created");
    expect(
      await sql(
        "creator",
        "created",
        "select distinct pg_get_userbyid(relowner) as owner from pg_class where relnamespace = 'walhook'::regnamespace and relkind in ('r', 'p')",
      ),
    ).toEqual([{ owner: "walhook_owner" }]);
    expect(
      await sql(
        "creator",
        "created",
        "select proname::text as name, pg_get_userbyid(proowner)::text as owner from pg_proc where pronamespace = 'walhook'::regnamespace and proname in ('ask', 'guard', 'needs') order by 1",
      ),
    ).toEqual([
      { name: "ask", owner: "walhook_sandbox" },
      { name: "needs", owner: "walhook_owner" },
    ]);
    await sql(
      "creator",
      "created",
      "create role shop login; create role clerk login in role walhook_admin; grant shop to walhook_owner",
    );
    await sql("postgres", "created", "grant create, usage on schema public to shop");
    await sql(
      "shop",
      "created",
      "create table orders (id int primary key, status text); grant select on orders to clerk",
    );
    await sql(
      "clerk",
      "created",
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
       values ('w', 'orders', 'on_trash', 'https://example.com', 'doc.status = ''Paid''')`,
    );
    await sql("shop", "created", "insert into orders values (1, 'x'); delete from orders");
    await tryRepair("creator", "created");
    await sql("shop", "created", "insert into orders values (1, 'x'); delete from orders");
  });

  it("with psql alone, twice, gives the same as the runner", async () => {
    await sql("postgres", "postgres", "create database by_psql");
    await sql("postgres", "postgres", "create database by_runner");
    await install("postgres", "by_runner");
    const files = await migrationFiles();
    for (let round = 0; round < 2; round++) {
      for (const { url } of files) {
        await run("psql", ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.url("by_psql"), "-f", fileURLToPath(url)]);
      }
    }
    const inventory = `
      select 'function ' || oid::regprocedure || coalesce(proacl::text, '') || pg_get_userbyid(proowner) as object
        from pg_proc where pronamespace = 'walhook'::regnamespace
      union all select 'relation ' || relname || coalesce(relacl::text, '') from pg_class where relnamespace = 'walhook'::regnamespace
      union all select 'trigger ' || tgname || tgrelid::regclass from pg_trigger where not tgisinternal
      union all select 'constraint ' || conname from pg_constraint where connamespace = 'walhook'::regnamespace
      union all select 'migration ' || version from walhook.migration order by 1`;
    expect(await sql("postgres", "by_psql", inventory)).toEqual(await sql("postgres", "by_runner", inventory));
    expect(await install("postgres", "by_psql")).toEqual(["the schema is up to date"]);
  });

  it("in several databases at once, each twice, does not stumble over the roles they share", async () => {
    for (const name of ["created", "by_psql", "by_runner"]) await sql("postgres", "postgres", `drop database ${name}`);
    // So that all of them want to make the roles.
    const roles = "walhook_owner, walhook_bridge, walhook_sandbox, walhook_admin, walhook_analyst, walhook_monitor";
    await sql("postgres", "postgres", `drop role ${roles}`);
    const names = ["one", "two", "three"];
    for (const name of names) await sql("postgres", "postgres", `create database ${name}`);
    const said = await Promise.all([...names, ...names].map((name) => install("postgres", name)));
    expect(said.filter((lines) => lines.includes("the schema is up to date"))).toHaveLength(3);
  });

  it("refuses a schema that a later version has made", async () => {
    await sql("postgres", "one", "insert into walhook.migration (version, name) values (999, 'future')");
    await expect(install("postgres", "one")).rejects.toMatchObject({
      code: "schema_too_new",
      hint: expect.stringContaining("Use the version of Walhook that made the schema") as string,
    });
  });
});
