import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { startPostgres } from "../../demo/postgres.ts";
import { createBridge, type Bridge } from "../../src/bridge.ts";
import { ensureBridgeSlot } from "../../src/slot/create-bridge-slot.ts";
import { migrate } from "../../src/db/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";

/** A server whose synchronous standby may be away, with one table of three rows. */
interface World {
  readonly receiver: Receiver;
  /** A superuser whose commits wait for no standby. */
  readonly local: pg.Client;
  /** A superuser whose commits do. */
  readonly admin: pg.Client;
  readonly bridge: Bridge;
  connect(role: string): Promise<pg.Client>;
  standby(isAway: boolean): Promise<void>;
  received(): readonly string[];
}

async function inWorld(test: (world: World) => Promise<void>): Promise<void> {
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
  const local = await connect("postgres");
  await local.query("set synchronous_commit = local");
  await migrate(local);
  await local.query(`
    create role app login; grant app to walhook_owner; grant all on schema public to app;
    create role bridge login replication in role walhook_bridge;
    alter role bridge set synchronous_commit = local;
    set role app; create table orders (id int primary key, v int); insert into orders values (1, 0), (2, 0), (3, 0); reset role`);
  await ensureBridgeSlot(server.url("postgres"));
  await local.query(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
    values ('w', 'orders', 'on_update', '${receiver.url}/')`);
  const bridge = createBridge({ databaseUrl: server.url("postgres", "bridge"), drainMs: 500 });
  const standby = async (isAway: boolean): Promise<void> => {
    await local.query(
      isAway ? "alter system set synchronous_standby_names = 'nobody'" : "alter system reset synchronous_standby_names",
    );
    await local.query("select pg_reload_conf()");
    await eventually(
      async () =>
        (await local.query("show synchronous_standby_names")).rows[0].synchronous_standby_names ===
        (isAway ? "nobody" : ""),
    );
  };
  const received = () =>
    receiver.requests.map(({ body }) => {
      const { event, doc } = (
        JSON.parse(body.toString()) as { data: { event: string; doc: { id: number; v: number } } }
      ).data;
      return `${event} ${doc.id} ${doc.v}`;
    });
  try {
    await bridge.start();
    await test({ receiver, admin, local, bridge, connect, standby, received });
  } finally {
    await bridge.stop();
    await Promise.all(connections.map((client) => client.end().catch(() => {})));
    await server.stop("immediate");
    await rm(folder, { recursive: true, force: true });
  }
}

const WAITING = "select from pg_stat_activity where usename = 'bridge' and wait_event = 'SyncRep'";

describe("a backfill, while a synchronous standby does not answer,", () => {
  it("waits for a commit that is in the WAL, and sent, while nobody sees it yet; it says so", async () => {
    await inWorld(async ({ local, connect, standby, received }) => {
      await standby(true);
      const writer = await connect("app");
      const writing = writer.query("update orders set v = 1 where id = 2");
      await eventually(() => received().length === 1);
      expect((await local.query("select v from orders where id = 2")).rows).toEqual([{ v: 0 }]);
      await local.query("select walhook.backfill('w')");
      await eventually(async () => (await local.query(WAITING)).rowCount === 1);
      const said =
        "select from walhook.backfill_progress where error ~ 'waits for a synchronous standby' and waits_for ~ 'see error'";
      await eventually(async () => (await local.query(said)).rowCount === 1);
      expect(received()).toEqual(["on_update 2 1"]);
      await standby(false);
      await writing;
      await eventually(() => received().length === 4);
      expect(received()[0]).toBe("on_update 2 1");
      expect(received().slice(1).toSorted()).toEqual(["backfill 1 0", "backfill 2 1", "backfill 3 0"]);
    });
  });

  it("goes on waiting where somebody cancels its wait: what it could not see may have been sent", async () => {
    await inWorld(async ({ local, connect, standby, received }) => {
      await standby(true);
      const writer = await connect("app");
      const writing = writer.query("update orders set v = 1 where id = 2");
      await eventually(() => received().length === 1);
      await local.query("select walhook.backfill('w')");
      const cancel =
        "select pg_cancel_backend(pid) from pg_stat_activity where usename = 'bridge' and wait_event = 'SyncRep'";
      for (let times = 0; times < 3; times++) {
        await eventually(async () => (await local.query(cancel)).rowCount === 1);
      }
      const said = "select from walhook.backfill_progress where error ~ 'was not waited for'";
      await eventually(async () => (await local.query(said)).rowCount === 1);
      expect(received()).toEqual(["on_update 2 1"]);
      await standby(false);
      await writing;
      await eventually(() => received().length === 4);
      expect(received()).not.toContain("backfill 2 0");
    });
  });

  it("that was asked for meanwhile begins when the standby is back, however late", async () => {
    await inWorld(async ({ admin, local, standby, received }) => {
      await standby(true);
      const asking = admin.query("select walhook.backfill('w')");
      const isWaiting =
        "select from pg_stat_activity where wait_event = 'SyncRep' and now() - xact_start > interval '5 s'";
      await eventually(async () => (await local.query(isWaiting)).rowCount === 1);
      await standby(false);
      await asking;
      await eventually(() => received().length === 3);
    });
  });

  it("keeps nobody from stopping the bridge", async () => {
    await inWorld(async ({ local, bridge, standby }) => {
      await standby(true);
      await local.query("select walhook.backfill('w')");
      await eventually(async () => (await local.query(WAITING)).rowCount === 1);
      await bridge.stop();
      expect((await local.query("select state from walhook.bridge")).rows).toEqual([{ state: "stopped" }]);
      await standby(false);
    });
  });
});
