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
let env: Readonly<Record<string, string>>;
const bridges: CliProcess[] = [];

/** A server that gives up a slot once it would have to keep more than a few segments for it. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "walhook-lost-"));
  await chmod(folder, 0o755);
  const native = process.env["WALHOOK_TEST_NATIVE"];
  server = await startPostgres({
    dataDir: join(folder, "data"),
    ...(native === undefined ? {} : { nativeDir: native }),
    settings: ["fsync=off", "max_slot_wal_keep_size=1MB", "max_wal_size=32MB", "min_wal_size=32MB"],
  });
  env = { DATABASE_URL: server.url("postgres") };
  receiver = await startReceiver();
  await runCli(["install"], env);
  client = new pg.Client({ connectionString: server.url("postgres") });
  await client.connect();
  await client.query("create table orders (id bigint primary key); alter table orders owner to walhook_owner");
  await client.query(
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
     values ('order', 'orders', 'after_insert', '${receiver.url}/order')`,
  );
});
afterAll(async () => {
  for (const { child } of bridges) child.kill("SIGKILL");
  await client.end();
  await receiver.close();
  await server.stop("immediate");
  await rm(folder, { recursive: true, force: true });
});

async function runAndDeliver(id: number): Promise<CliProcess> {
  const bridge = startCli(["run"], env);
  bridges.push(bridge);
  await bridge.line(/info {2}running/);
  await client.query("insert into orders values ($1)", [id]);
  await eventually(() => receiver.requests.some(({ body }) => JSON.parse(body.toString()).data.name === String(id)));
  return bridge;
}

/** Writes WAL until the server gives the slot up at a checkpoint. */
async function loseSlot(): Promise<void> {
  await eventually(async () => {
    await client.query("select pg_logical_emit_message(false, 'noise', repeat('x', 4000000))");
    await client.query("select pg_switch_wal()");
    await client.query("checkpoint");
    const { rows } = await client.query(
      "select s.wal_status from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name",
    );
    return (rows[0] as { wal_status: string } | undefined)?.wal_status === "lost";
  });
}

async function expectGapAndAccept(): Promise<void> {
  const { rows } = await client.query(
    "select state, gap_kind, gap_needs_slot, gap_from_lsn < gap_to_lsn as is_range, remedy from walhook.bridge",
  );
  expect(rows).toEqual([
    {
      state: "gap",
      gap_kind: "slot_lost",
      gap_needs_slot: true,
      is_range: true,
      remedy: expect.stringContaining("max_slot_wal_keep_size"),
    },
  ]);
  expect(await runCli(["check"], env)).toMatchObject({ code: 1, out: expect.stringContaining("gap: slot_lost") });
  expect(await runCli(["accept-gap", "--yes"], env)).toMatchObject({ code: 0, err: "" });
}

test("a slot that the server gave up while the bridge was stopped is a gap; accepted, events flow again", async () => {
  const bridge = await runAndDeliver(1);
  bridge.child.kill("SIGTERM");
  expect(await bridge.ended).toMatchObject({ code: 0 });
  await loseSlot();
  expect(await startCli(["run"], env).ended).toMatchObject({ code: 5, err: expect.stringContaining("code=slot_lost") });
  await expectGapAndAccept();
  (await runAndDeliver(2)).child.kill("SIGKILL");
});

test("a slot that is given up under a bridge that does not keep up ends the bridge with the gap", async () => {
  const bridge = await runAndDeliver(3);
  bridge.child.kill("SIGSTOP");
  await loseSlot();
  bridge.child.kill("SIGCONT");
  expect(await bridge.ended).toMatchObject({ code: 5, err: expect.stringContaining("code=slot_lost") });
  await expectGapAndAccept();
  await runAndDeliver(4);
});
