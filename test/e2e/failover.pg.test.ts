import { execFile } from "node:child_process";
import { appendFile, chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort, type PostgresServer, startPostgres } from "../../demo/postgres.ts";
import { eventually } from "../support/eventually.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { runCli, startCli, type CliProcess } from "../support/walhook-cli.ts";

const run = promisify(execFile);

let folder: string;
let primary: PostgresServer;
let receiver: Receiver;
const servers: PostgresServer[] = [];
const bridges: CliProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "walhook-failover-"));
  await chmod(folder, 0o755);
  primary = await start("primary", []);
  receiver = await startReceiver();
  await runCli(["install"], { DATABASE_URL: primary.url("postgres") });
  await query(primary, "create table orders (id bigint primary key); alter table orders owner to walhook_owner");
  await query(
    primary,
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
     values ('order', 'orders', 'after_insert', '${receiver.url}/order')`,
  );
});
afterAll(async () => {
  for (const { child } of bridges) child.kill("SIGKILL");
  for (const server of servers) await server.stop("immediate").catch(() => {});
  await receiver.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(name: string, settings: readonly string[], port?: number): Promise<PostgresServer> {
  const native = process.env["WALHOOK_TEST_NATIVE"];
  const server = await startPostgres({
    dataDir: join(folder, name),
    ...(native === undefined ? {} : { nativeDir: native }),
    ...(port === undefined ? {} : { port }),
    settings: ["fsync=off", ...settings],
  });
  servers.push(server);
  return server;
}

async function query(server: PostgresServer, sql: string): Promise<readonly Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: server.url("postgres") });
  await client.connect();
  try {
    const result = await client.query<Record<string, unknown>>(sql);
    return Array.isArray(result) ? [] : result.rows;
  } finally {
    await client.end();
  }
}

function startBridge(server: PostgresServer): CliProcess {
  const bridge = startCli(["run"], { DATABASE_URL: server.url("postgres") });
  bridges.push(bridge);
  return bridge;
}

const delivered = (): readonly string[] =>
  receiver.requests.map(({ body }) => JSON.parse(body.toString()).data.name as string);

/** A standby as a DBA sets one up, by a cold copy, and what operations.md says of failover slots. */
async function startStandby(): Promise<PostgresServer> {
  await query(primary, "select pg_create_physical_replication_slot('standby')");
  await primary.stop("fast");
  await run("cp", ["-a", primary.dataDir, join(folder, "standby")]);
  // As in a base backup, the slots stay behind.
  const slots = join(folder, "standby", "pg_replslot");
  for (const name of await readdir(slots)) await rm(join(slots, name), { recursive: true });
  await run("cp", ["-a", join(folder, "standby", "PG_VERSION"), join(folder, "standby", "standby.signal")]);
  await appendFile(join(primary.dataDir, "walhook.conf"), "synchronized_standby_slots = 'standby'\n");
  await primary.start();
  return start(
    "standby",
    [
      "hot_standby_feedback=on",
      "sync_replication_slots=on",
      "primary_slot_name=standby",
      `primary_conninfo=host=127.0.0.1 port=${primary.port} user=postgres dbname=postgres`,
    ],
    await freePort(),
  );
}

test("after a failover to a standby the bridge goes on with its slot: nothing is lost, and no gap is to be accepted", async () => {
  const [version] = await query(primary, "select current_setting('server_version_num')::int / 10000 as major");
  // Before 17, slots do not follow.
  if (Number(version?.["major"]) < 17) return;
  const before = startBridge(primary);
  await before.line(/info {2}running/);
  await query(primary, "insert into orders values (1)");
  await eventually(() => delivered().includes("1"));
  const standby = await startStandby();

  // The restarted primary is waited for, and a bridge that is pointed at the standby waits, too.
  await query(primary, "insert into orders values (2)");
  await eventually(() => delivered().includes("2"), { withinMs: 30_000 });
  const early = startBridge(standby);
  await early.line(/warn {2}waiting code=database_read_only/);
  await eventually(
    async () => {
      // A slot is carried over once the primary's has passed what the standby still has, as it does while people work.
      await query(primary, "select pg_log_standby_snapshot()");
      const [slot] = await query(
        standby,
        "select synced and not temporary and invalidation_reason is null as is_usable from pg_replication_slots where slot_name ~ '^walhook_'",
      );
      return slot?.["is_usable"] === true;
    },
    { withinMs: 60_000, everyMs: 300 },
  );
  await query(primary, "insert into orders values (3)");
  await eventually(() => delivered().includes("3"));
  const [end] = await query(primary, "select pg_current_wal_lsn()::text as lsn");
  await eventually(async () => {
    const [replayed] = await query(standby, `select pg_last_wal_replay_lsn() >= '${String(end?.["lsn"])}' as done`);
    return replayed?.["done"] === true;
  });

  await primary.stop("immediate");
  before.child.kill("SIGKILL");
  await query(standby, "select pg_promote()");
  await early.line(/info {2}running/);
  await query(standby, "insert into orders values (4)");
  await eventually(() => delivered().includes("4"), { withinMs: 30_000 });
  expect(new Set(delivered())).toEqual(new Set(["1", "2", "3", "4"]));
  const ids = new Set(receiver.requests.map(({ headers }) => headers["webhook-id"]));
  expect(ids.size).toBe(4);
  expect(await runCli(["accept-gap"], { DATABASE_URL: standby.url("postgres") })).toMatchObject({ code: 3 });
  expect(await query(standby, "select state, gap_kind from walhook.bridge")).toEqual([
    { state: "running", gap_kind: null },
  ]);
  // What was delivered stands in the log a moment later.
  const log = (): Promise<readonly Record<string, unknown>[]> =>
    query(
      standby,
      "select count(*)::int as rows, count(distinct docname)::int as orders from walhook.webhook_request_log",
    );
  await eventually(async () => Number((await log())[0]?.["rows"]) >= 4);
  expect(await log()).toEqual([{ rows: 4, orders: 4 }]);
}, 180_000);
