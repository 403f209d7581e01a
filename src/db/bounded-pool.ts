import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { within } from "../within.ts";
import type { Database } from "./schema.ts";
import { socketOf } from "./socket-of.ts";

/** A pool, for SQL as text, and Kysely over it. */
export interface Connections {
  readonly pool: pg.Pool;
  readonly db: Kysely<Database>;
}

/** A pool that can be ended though somebody makes one of its statements wait. */
export interface BoundedPool extends Connections {
  /** Waits for its statements so long, then breaks their connections off. Never rejects. */
  end(withinMs: number): Promise<void>;
}

/**
 * @param max connections at once
 * @param onConnect told of each new connection
 */
export function boundedPool(
  config: pg.ClientConfig,
  max: number,
  onConnect: (client: pg.PoolClient) => void = () => {},
): BoundedPool {
  const pool = new pg.Pool({ ...config, max });
  const clients = new Set<pg.PoolClient>();
  pool.on("error", () => {});
  pool.on("connect", (client) => {
    clients.add(client);
    // A transaction has its connection to itself: where that breaks between two statements, nobody else listens.
    client.on("error", () => {});
    onConnect(client);
  });
  pool.on("remove", (client) => clients.delete(client));
  return {
    pool,
    db: new Kysely<Database>({ dialect: new PostgresDialect({ pool }) }),
    end: async (withinMs) => {
      const ended = pool.end().catch(() => {});
      if (await within(withinMs, ended)) return;
      for (const client of clients) socketOf(client).destroy();
      await within(withinMs, ended);
    },
  };
}
