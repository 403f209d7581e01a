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

it("waits for a commit that is in the WAL, and sent, while nobody sees it yet: its synchronous standby does not answer", async () => {
  const folder = await mkdtemp(join(tmpdir(), "walhook-unseen-"));
  // As root, the server runs as somebody else.
  await chmod(folder, 0o755);
  const nativeDir = process.env["WALHOOK_TEST_NATIVE"];
  const server = await startPostgres({
    dataDir: join(folder, "data"),
    ...(nativeDir === undefined ? {} : { nativeDir }),
    settings: ["fsync=off"],
  });
  const connections: pg.Client[] = [];
  const connect = async (role: string): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: server.url("postgres", role) });
    client.on("error", () => {});
    await client.connect();
    connections.push(client);
    return client;
  };
  await using receiver = await startReceiver();
  const admin = await connect("postgres");
  await migrate(admin);
  await admin.query(`
    create role app login; grant app to walhook_owner; grant all on schema public to app;
    create role bridge login replication in role walhook_bridge;
    alter role bridge set synchronous_commit = local;
    set synchronous_commit = local;
    set role app; create table orders (id int primary key, v int); insert into orders values (1, 0), (2, 0), (3, 0); reset role`);
  await ensureBridgeSlot(server.url("postgres"));
  await admin.query(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
    values ('w', 'orders', 'on_update', '${receiver.url}/')`);
  const bridge = createBridge({ databaseUrl: server.url("postgres", "bridge") });
  try {
    await bridge.start();
    await admin.query("alter system set synchronous_standby_names = 'nobody'");
    await admin.query("select pg_reload_conf()");
    const writer = await connect("app");
    await eventually(
      async () => (await writer.query("show synchronous_standby_names")).rows[0].synchronous_standby_names === "nobody",
    );
    const writing = writer.query("update orders set v = 1 where id = 2");
    const received = () =>
      receiver.requests.map(({ body }) => {
        const { event, doc } = (
          JSON.parse(body.toString()) as { data: { event: string; doc: { id: number; v: number } } }
        ).data;
        return `${event} ${doc.id} ${doc.v}`;
      });
    await eventually(() => received().length === 1);
    expect((await admin.query("select v from orders where id = 2")).rows).toEqual([{ v: 0 }]);
    await admin.query("select walhook.backfill('w')");
    const waiting = "select from pg_stat_activity where usename = 'bridge' and wait_event = 'SyncRep'";
    await eventually(async () => (await admin.query(waiting)).rowCount === 1);
    expect(received()).toEqual(["on_update 2 1"]);
    await admin.query("alter system reset synchronous_standby_names");
    await admin.query("select pg_reload_conf()");
    await writing;
    await eventually(() => received().length === 4);
    expect(received()[0]).toBe("on_update 2 1");
    expect(received().slice(1).toSorted()).toEqual(["backfill 1 0", "backfill 2 1", "backfill 3 0"]);
  } finally {
    await bridge.stop();
    await Promise.all(connections.map((client) => client.end().catch(() => {})));
    await server.stop("immediate");
    await rm(folder, { recursive: true, force: true });
  }
});
