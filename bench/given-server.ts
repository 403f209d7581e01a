import { randomBytes } from "node:crypto";
import pg from "pg";
import type { PostgresServer } from "../demo/postgres.ts";
import { until } from "./wait.ts";

/** Of the roles that the benchmark makes; a server of its own does not ask for it. */
export const ROLE_PASSWORD = randomBytes(16).toString("hex");

const ROLES = ["bench_app", "bench_admin", "bench_bridge"] as const;
const DATABASE = "bench";

/**
 * A server that somebody else runs, on which the benchmark makes a database and roles of its own; stopping drops
 * them again. Rejects where one of them is there already: what is not ours stays.
 * @param url of a superuser, in any database
 */
export async function useGivenServer(url: string): Promise<PostgresServer> {
  const { rows } = await ask(
    url,
    `select rolname as name from pg_roles where rolname = any ($1) union all select datname from pg_database where datname = $2`,
    [ROLES, DATABASE],
  );
  if (rows.length > 0) {
    const names = rows.map((row) => String(row["name"])).join(", ");
    throw new Error(`the given server already has ${names}, which the benchmark would make and drop`);
  }
  const walhookRoles = await namesOfWalhookRoles(url);
  const place = await ask(url, "select current_setting('data_directory') as folder, current_setting('port') as port");
  const refuse = (): Promise<never> => Promise.reject(new Error("a given server is not started or stopped"));
  return {
    port: Number(place.rows[0]?.["port"]),
    dataDir: String(place.rows[0]?.["folder"]),
    url: (database, user) => withDatabase(url, database, user),
    start: refuse,
    stop: async () => {
      // A walsender whose client was killed notices a little later.
      const drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1";
      await until("the slots to be free", () => ask(url, drop, [DATABASE]).catch(() => null), { withinMs: 10_000 });
      await ask(url, `drop database ${DATABASE} with (force)`);
      const ours = (await namesOfWalhookRoles(url)).filter((name) => !walhookRoles.includes(name));
      for (const role of [...ROLES, ...ours]) await ask(url, `drop role ${role}`);
    },
  };
}

async function namesOfWalhookRoles(url: string): Promise<readonly string[]> {
  const { rows } = await ask(url, "select rolname as name from pg_roles where rolname ~ '^walhook_[a-z]+$'");
  return rows.map((row) => String(row["name"]));
}

function withDatabase(given: string, database: string, user?: string): string {
  const url = new URL(given);
  url.pathname = `/${database}`;
  if (user !== undefined) {
    url.username = user;
    url.password = ROLE_PASSWORD;
  }
  return url.toString();
}

async function ask(url: string, sql: string, params: unknown[] = []): Promise<pg.QueryResult<Record<string, unknown>>> {
  const client = new pg.Client({ connectionString: url, application_name: "bench" });
  await client.connect();
  try {
    return await client.query(sql, params);
  } finally {
    await client.end();
  }
}
