import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, it } from "vitest";
import { startPostgres } from "../../demo/postgres.ts";
import { createBridge } from "../../src/bridge.ts";
import { ensureBridgeSlot } from "../../src/slot/create-bridge-slot.ts";
import { migrate } from "../../src/db/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { startReceiver } from "../support/receiver.ts";

it("goes on by itself, loses nothing and logs exactly when Postgres restarts or crashes under load", async () => {
  const folder = await mkdtemp(join(tmpdir(), "walhook-restart-"));
  // As root, the server runs as somebody else.
  await chmod(folder, 0o755);
  const nativeDir = process.env["WALHOOK_TEST_NATIVE"];
  const server = await startPostgres({
    dataDir: join(folder, "data"),
    ...(nativeDir === undefined ? {} : { nativeDir }),
  });
  const url = server.url("postgres");
  const query = async (sql: string): Promise<Record<string, any>[]> => {
    const client = new pg.Client({ connectionString: url });
    client.on("error", () => {});
    await client.connect();
    try {
      return (await client.query<Record<string, any>>(sql)).rows;
    } finally {
      await client.end().catch(() => {});
    }
  };
  await using receiver = await startReceiver();
  const installer = new pg.Client({ connectionString: url });
  await installer.connect();
  await migrate(installer);
  await installer.end();
  await query(`
    create role app login; grant app to walhook_owner; grant all on schema public to app;
    create role bridge login replication in role walhook_bridge;
    set role app; create table entry (id bigint primary key);
  `);
  await ensureBridgeSlot(url);
  await query(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
               values ('entry', 'entry', 'after_insert', '${receiver.url}/entry')`);
  const bridge = createBridge({ databaseUrl: server.url("postgres", "bridge") });
  await bridge.start();

  let isOver = false;
  const committed = new Set<number>();
  const writer = (async () => {
    for (let id = 1; !isOver; id++) {
      // A statement whose answer a crash took away may have been committed: the table knows.
      await query(`insert into entry values (${id})`).then(
        () => committed.add(id),
        () => new Promise((resolve) => setTimeout(resolve, 20)),
      );
    }
  })();
  try {
    for (const mode of ["fast", "immediate"] as const) {
      const before = committed.size;
      await eventually(() => committed.size > before + 50);
      await server.stop(mode);
      await server.start();
      const after = receiver.requests.length;
      await eventually(() => receiver.requests.length > after + 20, { withinMs: 30_000 });
    }
    isOver = true;
    await writer;
    const rows = (await query("select id from entry order by id")).map(({ id }) => String(id));
    const received = () =>
      new Set(receiver.requests.map(({ body }) => JSON.parse(body.toString()).data.name as string));
    await eventually(() => received().size >= rows.length);
    await bridge.stop();
    expect([...received()].toSorted((a, b) => Number(a) - Number(b))).toEqual(rows);
    for (const id of committed) expect(received().has(String(id))).toBe(true);
    const idsOf = new Map<string, Set<string>>();
    for (const { body, headers } of receiver.requests) {
      const name = JSON.parse(body.toString()).data.name as string;
      idsOf.set(name, (idsOf.get(name) ?? new Set()).add(headers["webhook-id"] as string));
    }
    expect([...idsOf.values()].every((ids) => ids.size === 1)).toBe(true);
    const [log] = await query(`
      select count(*)::int as rows, count(distinct docname)::int as documents from walhook.webhook_request_log
      where outcome = 'delivered'`);
    expect(log).toEqual({ rows: rows.length, documents: rows.length });
    expect(await query("select from walhook.webhook_queue")).toEqual([]);
  } finally {
    isOver = true;
    await writer;
    await bridge.stop().catch(() => {});
    await server.stop("immediate").catch(() => {});
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);
