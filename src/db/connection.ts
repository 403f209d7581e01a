import pg from "pg";
import { EXIT_CODES, explain, WalhookError } from "../errors.ts";

/** How long a new connection may take before the attempt counts as failed. */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Settings that shape the text of values, pinned wherever that text matters: the same row must read the same on the
 * replication connection, in a condition and in the configuration, whatever the role's defaults are.
 */
export const PINNED_SETTINGS: Readonly<Record<string, string>> = Object.freeze({
  TimeZone: "UTC",
  DateStyle: "ISO, YMD",
  IntervalStyle: "postgres",
  extra_float_digits: "1",
  bytea_output: "hex",
  lc_monetary: "C",
});

/** `PINNED_SETTINGS` as statements; `local` ends them with the transaction, which is what a pooled connection needs. */
export function pinStatements(scope: "session" | "local"): string {
  return Object.entries(PINNED_SETTINGS)
    .map(([name, value]) => `set ${scope} ${name} = ${pg.escapeLiteral(value)}`)
    .join("; ");
}

/**
 * How to connect: the driver's settings for a connection string.
 *
 * TLS: `sslmode=disable` is plain; `require`, `verify-ca` and `verify-full` (and `prefer`) all encrypt and check
 * the certificate and the host name, which is stricter than libpq; `no-verify` encrypts without checking.
 * `sslrootcert`, `sslcert` and `sslkey` name files. With `uselibpqcompat=true` the modes mean what libpq means.
 * What the string leaves out comes from `PGHOST`, `PGUSER`, `PGPASSWORD`, ….
 * @param applicationName what `pg_stat_activity` shows; a name in the string wins
 * @throws WalhookError `bad_database_url`
 */
export function connectionConfig(url: string, applicationName: string): pg.ClientConfig {
  return {
    connectionString: withExplicitTls(parseUrl(url)),
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  };
}

/** Connects, or throws a `WalhookError` that names the place without its password. */
export async function connect(url: string, applicationName: string): Promise<pg.Client> {
  const where = `connecting to ${displayUrl(url)}`;
  let client: pg.Client;
  try {
    // The constructor already reads the files that sslrootcert and its like name.
    client = new pg.Client(connectionConfig(url, applicationName));
  } catch (error) {
    throw explain(error, where);
  }
  // An idle connection that breaks says so at the next query; without a listener it would end the process.
  client.on("error", () => {});
  try {
    await client.connect();
  } catch (error) {
    await client.end().catch(() => {});
    throw explain(error, where);
  }
  return client;
}

/** The connection string without what must not be shown: `postgresql://bridge@db:5432/shop`. */
export function displayUrl(url: string): string {
  const parsed = parseUrl(url);
  parsed.password = "";
  // The query may carry password= and paths of keys.
  parsed.search = "";
  return parsed.toString();
}

function parseUrl(url: string): URL {
  // `postgresql://role@/shop` is fine for libpq, but an empty host behind a role is none for WHATWG.
  const candidate = URL.canParse(url) ? url : url.replace("@/", "@localhost/");
  if (!URL.canParse(candidate)) {
    // The text is not repeated: it may hold a password.
    throw new WalhookError("the connection string is not a URL", {
      code: "bad_database_url",
      exitCode: EXIT_CODES.usage,
      hint: "Write it as postgresql://role:password@host:5432/database (special characters percent-encoded).",
    });
  }
  const parsed = new URL(candidate);
  if (parsed.protocol !== "postgresql:" && parsed.protocol !== "postgres:") {
    throw new WalhookError(`the connection string begins with ${parsed.protocol}//, not postgresql://`, {
      code: "bad_database_url",
      exitCode: EXIT_CODES.usage,
      hint: "Write it as postgresql://role:password@host:5432/database.",
    });
  }
  return parsed;
}

/**
 * The driver takes `prefer`, `require` and `verify-ca` for `verify-full`, warns about it, and will change its
 * mind in the next major version. Saying `verify-full` keeps the strict meaning.
 */
function withExplicitTls(url: URL): string {
  const mode = url.searchParams.get("sslmode");
  if (url.searchParams.get("uselibpqcompat") === "true" || mode === null) return url.toString();
  if (mode === "prefer" || mode === "require" || mode === "verify-ca") url.searchParams.set("sslmode", "verify-full");
  else if (mode !== "disable" && mode !== "verify-full" && mode !== "no-verify") {
    throw new WalhookError(`sslmode=${mode} is not known`, {
      code: "bad_database_url",
      exitCode: EXIT_CODES.usage,
      hint: "Use disable, no-verify, require or verify-full.",
    });
  }
  return url.toString();
}
