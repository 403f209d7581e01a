import type pg from "pg";
import { pinStatements } from "../db/connection.ts";

/** The settings that shape the text of values, as one string of `set` statements. */
export const PIN_TEXT_SETTINGS: string = pinStatements("session");

/** The settings of a connection string or object, for a client that speaks the replication protocol. */
export function replicationClientConfig(connection: pg.ClientConfig): pg.ClientConfig {
  const config: pg.ClientConfig & { replication: string } = {
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    ...connection,
    replication: "database",
  };
  return config;
}

/**
 * Takes the client-side query timeout off a client, wherever it came from: it would end a stream, which is
 * one query that never ends, and a slot's creation, which has a timeout of its own.
 */
export function stripQueryTimeout(client: pg.Client): void {
  const { connectionParameters } = client as unknown as { connectionParameters: { query_timeout?: unknown } };
  connectionParameters.query_timeout = false;
}
