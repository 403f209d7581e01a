import type pg from "pg";

/**
 * What shapes a value's text, pinned on every connection that turns rows into text, so that a value looks
 * the same whoever's defaults are in force. The names and values are those of `set`.
 * https://www.postgresql.org/docs/current/runtime-config-client.html
 */
export const TEXT_SETTINGS: Readonly<Record<string, string>> = {
  TimeZone: "UTC",
  DateStyle: "ISO, YMD",
  IntervalStyle: "postgres",
  extra_float_digits: "1",
  bytea_output: "hex",
  lc_monetary: "C",
};

/** The pinned settings as one string of `set` statements. */
export const PIN_TEXT_SETTINGS: string = Object.entries(TEXT_SETTINGS)
  .map(([name, value]) => `set ${name} = '${value}'`)
  .join("; ");

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
