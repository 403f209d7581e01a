import { connect, createServer, type Server, type Socket } from "node:net";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PostgresServer, startPostgres } from "../../demo/postgres.ts";
import { eventually } from "../support/eventually.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { runCli, startCli, type CliProcess } from "../support/walhook-cli.ts";

let folder: string;
let server: PostgresServer;
let receiver: Receiver;
let client: pg.Client;
let bridge: CliProcess;
let wire: CountedWire;

/** A server of its own, where nobody else writes. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "walhook-idle-"));
  await chmod(folder, 0o755);
  const native = process.env["WALHOOK_TEST_NATIVE"];
  server = await startPostgres({
    dataDir: join(folder, "data"),
    ...(native === undefined ? {} : { nativeDir: native }),
    settings: ["fsync=off", "autovacuum=off"],
  });
  const url = server.url("postgres");
  receiver = await startReceiver();
  wire = await countedWire(server.port);
  await runCli(["install"], { DATABASE_URL: url });
  client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("create table orders (id bigint primary key); alter table orders owner to walhook_owner");
  await client.query(
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
     values ('order', 'orders', 'after_insert', '${receiver.url}/order')`,
  );
  bridge = startCli(["run"], {
    DATABASE_URL: url,
    REPLICATION_URL: url.replace(String(server.port), String(wire.port)),
  });
  await bridge.line(/info {2}running/);
  await client.query("insert into orders values (1)");
  await eventually(() => receiver.requests.length === 1);
});
afterAll(async () => {
  bridge.child.kill("SIGKILL");
  await client.end();
  wire.close();
  await receiver.close();
  await server.stop("immediate");
  await rm(folder, { recursive: true, force: true });
});

interface CountedWire {
  readonly port: number;
  /** Replication messages so far, both ways: keepalives and status updates. */
  readonly messages: () => number;
  close(): void;
}

/** A proxy that counts the pieces of CopyData that pass, which are small enough to come one in a read while nothing happens. */
async function countedWire(port: number): Promise<CountedWire> {
  let messages = 0;
  const sockets = new Set<Socket>();
  const proxy: Server = createServer((from) => {
    const to = connect(port, "127.0.0.1");
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => other.destroy());
      one.on("data", (bytes) => {
        if (bytes[0] === "d".charCodeAt(0)) messages++;
        other.write(bytes);
      });
    }
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    port: (proxy.address() as { port: number }).port,
    messages: () => messages,
    close: () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}

async function onlyRow(sql: string): Promise<Readonly<Record<string, any>>> {
  const { rows } = await client.query<Record<string, any>>(sql);
  return rows[0] ?? {};
}

const seconds = (count: number): Promise<unknown> => client.query("select pg_sleep($1)", [count]);

test("on an idle database the bridge writes no row and no WAL, and less than one message a second passes", async () => {
  const WINDOW_S = 10;
  const look = () =>
    onlyRow(
      `select pg_current_wal_insert_lsn()::text as lsn, b as row,
              (select sum(n_tup_ins + n_tup_upd + n_tup_del)::int from pg_stat_all_tables) as rows from walhook.bridge b`,
    );
  // Once after something was written, the server itself writes a snapshot of the running transactions.
  const said = await eventually(
    async () => {
      const before = { ...(await look()), messages: wire.messages() };
      await seconds(WINDOW_S);
      const after = { ...(await look()), messages: wire.messages() };
      expect({ ...after, messages: 0 }).toEqual({ ...before, messages: 0 });
      return { messages: after.messages - before.messages };
    },
    { withinMs: 60_000 },
  );
  process.stdout.write(`${said.messages} replication messages, both ways, in ${WINDOW_S} s\n`);
  expect(said.messages).toBeLessThan(WINDOW_S);
  expect(wire.messages()).toBeGreaterThan(0);
}, 90_000);

test("the slot advances while only another database is written to", async () => {
  await client.query("create database elsewhere");
  const other = new pg.Client({ connectionString: server.url("elsewhere") });
  await other.connect();
  try {
    await other.query("create table noise as select repeat('x', 1000) as x from generate_series(1, 5000)");
    const { lsn } = await onlyRow("select pg_current_wal_lsn()::text as lsn");
    const updated = await onlyRow("select updated_at from walhook.bridge");
    await eventually(async () => {
      const slot = await onlyRow(
        `select confirmed_flush_lsn >= '${lsn}' as done from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name`,
      );
      return slot["done"] === true;
    });
    expect(await onlyRow("select updated_at from walhook.bridge")).toEqual(updated);
  } finally {
    await other.end();
  }
});

test("a fast shutdown of the server is not held up by the whole bridge, which then waits for the server", async () => {
  await client.end();
  const startedAt = performance.now();
  await server.stop("fast");
  const tookMs = Math.round(performance.now() - startedAt);
  process.stdout.write(`fast shutdown in ${tookMs} ms\n`);
  // Without a word from the bridge it would last for wal_sender_timeout.
  expect(tookMs).toBeLessThan(10_000);
  await bridge.line(/warn {2}waiting code=database_down/);
  await server.start();
  client = new pg.Client({ connectionString: server.url("postgres") });
  await client.connect();
  await client.query("insert into orders values (2)");
  await eventually(() => receiver.requests.length === 2, { withinMs: 30_000 });
});
