import { createBridge, type Bridge, type BridgeOptions } from "../../src/bridge.ts";
import { ensureBridgeSlot } from "../../src/slot/create-bridge-slot.ts";
import { createDatabase, type TestDatabase } from "./database.ts";
import { eventually } from "./eventually.ts";
import { startReceiver, type ReceivedRequest, type Receiver } from "./receiver.ts";
import { installWalhook, type WalhookRoles } from "./walhook.ts";

/** A database with Walhook installed, a receiver, and bridges to start: nobody in it is a superuser. */
export interface System {
  readonly db: TestDatabase;
  readonly roles: WalhookRoles;
  readonly receiver: Receiver;
  /** As the owner of the application's tables. */
  app(sql: string, params?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
  /** As who configures webhooks. */
  admin(sql: string, params?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
  /** As superuser, to look at everything. */
  look(sql: string, params?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
  /** A webhook on `doctype` to the receiver, at the path of its name. */
  webhook(name: string, doctype: string, events: string, more?: Readonly<Record<string, unknown>>): Promise<void>;
  startBridge(options?: Partial<BridgeOptions>): Promise<Bridge>;
  stopBridges(): Promise<void>;
  /** Waits until the bridge has made everything that is committed now durable. */
  caughtUp(withinMs?: number): Promise<void>;
  /** The same, and nothing is left in the queue either. */
  settled(withinMs?: number): Promise<void>;
  /** What has arrived at a webhook's path. */
  received(name: string): readonly ReceivedRequest[];
  drop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startSystem(label: string): Promise<System> {
  const db = await createDatabase(label);
  const roles = await installWalhook(db);
  await db.query(
    `grant create, usage on schema public to "${roles.app}"; grant usage on schema public to "${roles.admin}"`,
  );
  await db.query(`alter default privileges for role "${roles.app}" grant select on tables to "${roles.admin}"`);
  await ensureBridgeSlot(db.url);
  const receiver = await startReceiver();
  const bridges: Bridge[] = [];
  const app = await db.connect(roles.app);
  const admin = await db.connect(roles.admin);
  const drop = async (): Promise<void> => {
    await Promise.allSettled(bridges.map((bridge) => bridge.stop()));
    await receiver.close();
    await db.drop();
    await roles.drop();
  };
  const system: System = {
    db,
    roles,
    receiver,
    app: rowsOf((sql, params) => app.query(sql, params)),
    admin: rowsOf((sql, params) => admin.query(sql, params)),
    look: rowsOf((sql, params) => db.query(sql, params)),
    webhook: async (name, doctype, events, more = {}) => {
      const columns = { request_url: `${receiver.url}/${name}`, ...more };
      const names = Object.keys(columns);
      await system.admin(
        `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, ${names.join(", ")})
         values ($1, $2, $3, ${names.map((_, i) => `$${i + 4}`).join(", ")})`,
        [name, doctype, events, ...Object.values(columns)],
      );
    },
    startBridge: async (options = {}) => {
      const bridge = createBridge({ databaseUrl: db.urlAs(roles.bridge), ...options });
      bridges.push(bridge);
      await bridge.start();
      return bridge;
    },
    stopBridges: async () => {
      await Promise.all(bridges.splice(0).map((bridge) => bridge.stop()));
    },
    caughtUp: async (withinMs = 30_000) => {
      const rows = (await system.look("select pg_current_wal_lsn()::text as lsn")) as { lsn: string }[];
      await eventually(
        async () => {
          const [row] = await system.look(
            `select s.confirmed_flush_lsn >= $1::pg_lsn as done
           from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name`,
            [rows[0]!.lsn],
          );
          return row?.["done"] === true;
        },
        { withinMs },
      );
    },
    settled: async (withinMs = 30_000) => {
      await system.caughtUp(withinMs);
      const isEmpty = async () =>
        (await system.look("select from walhook.webhook_queue where not is_dead")).length === 0;
      await eventually(isEmpty, { withinMs });
    },
    received: (name) => receiver.requests.filter(({ path }) => path === `/${name}`),
    drop,
    [Symbol.asyncDispose]: drop,
  };
  return system;
}

type Rows = readonly Record<string, unknown>[];

/** Several statements in one string have several results; then nobody asks for rows. */
function rowsOf(query: (sql: string, params?: unknown[]) => Promise<{ rows: unknown[] }>) {
  return async (sql: string, params?: readonly unknown[]): Promise<Rows> => {
    const result = await query(sql, params === undefined ? undefined : [...params]);
    return Array.isArray(result) ? [] : (result.rows as Rows);
  };
}
