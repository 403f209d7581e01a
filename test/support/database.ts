import { randomBytes } from "node:crypto";
import pg from "pg";
import { inject } from "vitest";

/** A database of the test's own on the shared server. */
export interface TestDatabase {
  readonly name: string;
  /** As superuser `postgres`. */
  readonly url: string;
  /** The connection string for another role (trust authentication: no password). */
  urlAs(role: string): string;
  /** Runs one statement, or several without parameters, as superuser on a pooled connection. */
  query(sql: string, params?: readonly unknown[]): Promise<pg.QueryResult>;
  /** The same as another role, on a connection of its own. */
  queryAs(role: string, sql: string, params?: readonly unknown[]): Promise<pg.QueryResult>;
  /** A connection of the test's own, closed with the database. */
  connect(role?: string): Promise<pg.Client>;
  /** Drops its slots, then the database; also by `await using`. */
  drop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes an empty database, named after `label` and a random part.
 * @param options what CREATE DATABASE says besides the name
 */
export async function createDatabase(label = "test", options = ""): Promise<TestDatabase> {
  const port = inject("postgresPorts")[Number(process.env["VITEST_POOL_ID"] ?? 1) - 1];
  if (port === undefined) throw new Error(`no server for worker ${process.env["VITEST_POOL_ID"]}`);
  const name = `${label}_${randomBytes(4).toString("hex")}`;
  const urlOf = (database: string, role: string): string => `postgresql://${role}@127.0.0.1:${port}/${database}`;
  await withClient(urlOf("postgres", "postgres"), (client) => client.query(`create database "${name}" ${options}`));
  const pool = createPool(urlOf(name, "postgres"));
  const clients: pg.Client[] = [];
  const drop = async (): Promise<void> => {
    await Promise.allSettled(clients.map((client) => client.end()));
    await pool.end();
    await withClient(urlOf("postgres", "postgres"), async (admin) => {
      await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", [name]);
      const deadline = Date.now() + 10_000;
      for (;;) {
        const { rows } = await admin.query<{ slot_name: string; active: boolean }>(
          "select slot_name, active from pg_replication_slots where database = $1",
          [name],
        );
        if (rows.length === 0) break;
        if (Date.now() > deadline) throw new Error(`slots of ${name} stay in use: ${JSON.stringify(rows)}`);
        for (const { slot_name, active } of rows) {
          if (!active) await admin.query("select pg_drop_replication_slot($1)", [slot_name]).catch(() => {});
        }
      }
      await admin.query(`drop database "${name}" with (force)`);
    });
  };
  return {
    name,
    url: urlOf(name, "postgres"),
    urlAs: (role) => urlOf(name, role),
    query: (sql, params) => pool.query(sql, params === undefined ? undefined : [...params]),
    queryAs: (role, sql, params) =>
      withClient(urlOf(name, role), (client) => client.query(sql, params === undefined ? undefined : [...params])),
    connect: async (role = "postgres") => {
      const client = new pg.Client({ connectionString: urlOf(name, role) });
      client.on("error", () => {});
      await client.connect();
      clients.push(client);
      return client;
    },
    drop,
    [Symbol.asyncDispose]: drop,
  };
}

/** A pool whose connections may be ended from outside: `end` does not wait until the server has let go of them. */
export function createPool(url: string): pg.Pool {
  const pool = new pg.Pool({ connectionString: url, max: 4 });
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** The major version of the server under test. */
export async function serverMajor(database: TestDatabase): Promise<number> {
  const { rows } = await database.query("select current_setting('server_version_num')::int / 10000 as major");
  return (rows[0] as { major: number }).major;
}
