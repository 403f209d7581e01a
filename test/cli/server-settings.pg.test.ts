import { mkdtemp, rm, chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, expect, test } from "vitest";
import { startPostgres, type PostgresServer } from "../../demo/postgres.ts";
import { runCli } from "../support/walhook-cli.ts";

const closers: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of closers) await close();
});

async function serverWith(...settings: readonly string[]): Promise<PostgresServer> {
  const dir = await mkdtemp(join(tmpdir(), "walhook-settings-"));
  await chmod(dir, 0o755);
  const server = await startPostgres({ dataDir: join(dir, "data"), settings: ["fsync=off", ...settings] });
  closers.push(async () => {
    await server.stop("immediate");
    await rm(dir, { recursive: true, force: true });
  });
  return server;
}

async function query(server: PostgresServer, sql: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: server.url("postgres") });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

test("without logical WAL, install makes the schema and no slot, says what is missing, and ends with 3", async () => {
  const server = await serverWith("wal_level=replica");
  const env = { DATABASE_URL: server.url("postgres") };
  const install = await runCli(["install"], env);
  expect(install.code).toBe(3);
  expect(install.out).toContain("applied 020 tables");
  expect(install.out).toContain("wal_level is replica, and must be logical");
  expect(install.out).toContain("ALTER SYSTEM SET wal_level = logical;");
  expect(await query(server, "select slot_name from walhook.bridge")).toEqual([{ slot_name: null }]);

  const run = await runCli(["run"], env);
  expect(run).toMatchObject({ code: 3, err: expect.stringContaining("does not write logical WAL") });
  const check = await runCli(["check"], env);
  expect(check).toMatchObject({ code: 1, out: expect.stringContaining("problem  wal_level: replica") });
});

test("without a free slot, install says how to get one, and a second try goes on", async () => {
  const server = await serverWith("max_replication_slots=1");
  const env = { DATABASE_URL: server.url("postgres") };
  await query(server, "select pg_create_physical_replication_slot('other')");
  const install = await runCli(["install"], env);
  expect(install.code).toBe(3);
  expect(install.err).toContain("no free replication slot");
  expect(install.err).toContain("max_replication_slots");
  expect((await runCli(["check"], env)).out).toContain("problem  max_replication_slots: 1 of 1 in use");
  await query(server, "select pg_drop_replication_slot('other')");
  expect(await runCli(["install"], env)).toMatchObject({ code: 0 });
});
