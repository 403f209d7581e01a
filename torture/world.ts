import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { startPostgres, type PostgresServer } from "../demo/postgres.ts";
import { Receiver } from "./receiver/receiver.ts";
import { ROOT } from "./root.ts";
import { addWebhook, SECRET, WEBHOOKS, type WatchedWebhook } from "./workload/webhooks.ts";

/** A server of the test's own with Walhook installed, its application, and a receiver. Nobody but the test is a superuser. */
export interface World {
  readonly folder: string;
  readonly server: PostgresServer;
  readonly receiver: Receiver;
  /** Where the receiver writes down what arrives. */
  readonly arrivals: string;
  /** Webhooks that are there, in the order of their making. */
  readonly webhooks: WatchedWebhook[];
  /** The connection string for a role, directly or through a proxy's port. */
  url(role: Role, port?: number): string;
  connect(role: Role): Promise<pg.Client>;
  asSuperuser<T>(use: (client: pg.Client) => Promise<T>): Promise<T>;
  /** What stops and starts the server comes one after the other. */
  exclusively(use: () => Promise<void>): Promise<void>;
  /** Makes a webhook; changes of its table that commit from now on are its own. */
  addWebhook(webhook: WatchedWebhook): Promise<void>;
  /** Ends everything. Data, logs and the receiver's file stay where `isKept`. */
  close(isKept: boolean): Promise<void>;
}

/** postgres: superuser. bridge: what the bridge connects as. admin: who configures, repairs and reads the log. app: who owns the tables. */
export type Role = "postgres" | "bridge" | "admin" | "app";

const DATABASE = "torture";

const SETTINGS = [
  // The machine does not crash, only the server: what it wrote is there.
  "fsync=off",
  "wal_sender_timeout=4s",
  "max_prepared_transactions=30",
  "max_connections=60",
  // A checkpoint stores the slot's place; after a crash of the server it is there again.
  "checkpoint_timeout=30s",
  "timezone=UTC",
  "log_min_messages=fatal",
];

export async function startWorld(webhooks: readonly WatchedWebhook[] = WEBHOOKS): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "walhook-torture-"));
  await chmod(folder, 0o755);
  const arrivals = join(folder, "arrivals.jsonl");
  const server = await startPostgres({ dataDir: join(folder, "data"), settings: SETTINGS });
  // Also where this process is told to end in the middle.
  const endServer = (): void => killServer(server.dataDir);
  process.once("exit", endServer);
  const receiver = await Receiver.start(arrivals, SECRET);
  const url = (role: Role, port = server.port): string => `postgresql://${role}@127.0.0.1:${port}/${DATABASE}`;
  const connect = async (role: Role): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: url(role), connectionTimeoutMillis: 5000 });
    client.on("error", () => {});
    await client.connect();
    return client;
  };
  let exclusive: Promise<void> = Promise.resolve();
  const world: World = {
    folder,
    server,
    receiver,
    arrivals,
    webhooks: [],
    url,
    connect,
    asSuperuser: async (use) => {
      const client = await connect("postgres");
      try {
        return await use(client);
      } finally {
        await client.end().catch(() => {});
      }
    },
    exclusively: (use) => {
      const done = exclusive.then(use);
      exclusive = done.catch(() => {});
      return done;
    },
    addWebhook: async (webhook) => {
      const admin = await connect("admin");
      try {
        await addWebhook(admin, webhook, receiver.url);
      } finally {
        await admin.end();
      }
      world.webhooks.push(webhook);
    },
    close: async (isKept) => {
      await receiver.close();
      await server.stop("immediate").catch(() => {});
      process.off("exit", endServer);
      if (!isKept) await rm(folder, { recursive: true, force: true });
    },
  };
  await install(world);
  for (const webhook of webhooks) await world.addWebhook(webhook);
  return world;
}

/** An immediate shutdown, without waiting for it; nothing where the server is down. */
function killServer(dataDir: string): void {
  try {
    process.kill(Number(readFileSync(join(dataDir, "postmaster.pid"), "utf8").split("\n")[0]), "SIGQUIT");
  } catch {
    // It has ended already.
  }
}

async function install(world: World): Promise<void> {
  const postgres = new pg.Client({ connectionString: world.server.url("postgres") });
  await postgres.connect();
  await postgres.query(`create database ${DATABASE}`);
  await postgres.end();
  await promisify(execFile)(process.execPath, [join(ROOT, "dist", "cli", "walhook.cjs"), "install"], {
    env: { PATH: process.env["PATH"], DATABASE_URL: world.url("postgres") },
  });
  const superuser = await world.connect("postgres");
  await superuser.query(`
    create role bridge login replication in role walhook_bridge;
    create role admin login in role walhook_admin, walhook_analyst;
    create role app login;
    grant app to walhook_owner;
    grant create, usage on schema public to app;
    grant usage on schema public to admin;
    alter default privileges for role app grant select on tables to admin`);
  await superuser.end();
  const app = await world.connect("app");
  await app.query(await readFile(join(ROOT, "torture", "workload", "schema.sql"), "utf8"));
  await app.end();
}
