import { EXIT_CODES, WalhookError } from "./errors.ts";

interface OptionBase {
  /** The environment variable. */
  readonly env: string;
  /** The flag, without its dashes. */
  readonly flag: string;
  /** What the value is, as `--help` shows it: `url`, `ms`, `bytes`, …; the unit also stands in the option's name. */
  readonly unit: string;
  readonly help: string;
}

export type OptionSpec = OptionBase &
  (
    | { readonly type: "text"; readonly default: string | null }
    | { readonly type: "integer"; readonly default: number; readonly min: number; readonly max: number }
    | { readonly type: "choice"; readonly default: string; readonly choices: readonly string[] }
  );

/** Every option of Walhook, once: flags, environment variables, `--help` and the type `Config` all come from here. */
export const OPTIONS = {
  databaseUrl: {
    type: "text",
    env: "DATABASE_URL",
    flag: "database-url",
    unit: "url",
    default: null,
    help: "the database: postgresql://role:password@host:5432/database?sslmode=…; a pooler may stand before it",
  },
  replicationUrl: {
    type: "text",
    env: "REPLICATION_URL",
    flag: "replication-url",
    unit: "url",
    default: null,
    help: "the same database without a pooler, for the replication connection; default: DATABASE_URL",
  },
  logLevel: {
    type: "choice",
    env: "WALHOOK_LOG_LEVEL",
    flag: "log-level",
    unit: "level",
    choices: ["error", "warn", "info", "debug"],
    default: "info",
    help: "least level that is logged: error, warn, info or debug",
  },
  logFormat: {
    type: "choice",
    env: "WALHOOK_LOG_FORMAT",
    flag: "log-format",
    unit: "format",
    choices: ["text", "json"],
    default: "text",
    help: "text for people, json for machines: one object a line; both on standard error",
  },
  conditionTimeoutMs: {
    type: "integer",
    env: "WALHOOK_CONDITION_TIMEOUT_MS",
    flag: "condition-timeout-ms",
    unit: "ms",
    min: 1,
    max: 60_000,
    default: 250,
    help: "how long one question to the conditions may take",
  },
  graceMs: {
    type: "integer",
    env: "WALHOOK_GRACE_MS",
    flag: "grace-ms",
    unit: "ms",
    min: 0,
    max: 60_000,
    default: 1000,
    help: "how long the cursor waits for a delivery before the delivery moves into the queue",
  },
  maxBytesInFlight: {
    type: "integer",
    env: "WALHOOK_MAX_BYTES_IN_FLIGHT",
    flag: "max-bytes-in-flight",
    unit: "bytes",
    min: 4_194_304,
    max: 17_179_869_184,
    default: 16_777_216,
    help: "changes in memory, their bodies, and bodies from the queue, each; beyond it Walhook waits until some are dealt with",
  },
  maxOpenDeliveries: {
    type: "integer",
    env: "WALHOOK_MAX_OPEN_DELIVERIES",
    flag: "max-open-deliveries",
    unit: "deliveries",
    min: 1,
    max: 1_000_000,
    default: 4000,
    help: "deliveries open in memory; beyond it Walhook stops reading until some have ended",
  },
  maxRowBytes: {
    type: "integer",
    env: "WALHOOK_MAX_ROW_BYTES",
    flag: "max-row-bytes",
    unit: "bytes",
    min: 1024,
    max: 100_000_000,
    default: 16_777_216,
    help: "what is read of a row; beyond it its longest values are left out, and named in the request",
  },
  maxBodyBytes: {
    type: "integer",
    env: "WALHOOK_MAX_BODY_BYTES",
    flag: "max-body-bytes",
    unit: "bytes",
    min: 1024,
    max: 100_000_000,
    default: 8_388_608,
    help: "the largest body that is sent; a larger one is logged as an error and not sent",
  },
  concurrencyPerWebhook: {
    type: "integer",
    env: "WALHOOK_CONCURRENCY_PER_WEBHOOK",
    flag: "concurrency-per-webhook",
    unit: "requests",
    min: 1,
    max: 10_000,
    default: 50,
    help: "requests that one webhook may have open at once",
  },
  maxOpenRequests: {
    type: "integer",
    env: "WALHOOK_MAX_OPEN_REQUESTS",
    flag: "max-open-requests",
    unit: "requests",
    min: 1,
    max: 100_000,
    default: 1000,
    help: "requests open at once in all; beyond it each webhook still has its share, at least one",
  },
  addressMode: {
    type: "choice",
    env: "WALHOOK_ADDRESS_MODE",
    flag: "address-mode",
    unit: "mode",
    choices: ["internal", "public", "allowlist"],
    default: "internal",
    help: "where webhooks may go: internal (the internet and your own network), public (the internet), allowlist (only what allow-addresses lists)",
  },
  allowAddresses: {
    type: "text",
    env: "WALHOOK_ALLOW_ADDRESSES",
    flag: "allow-addresses",
    unit: "list",
    default: "",
    help: "allowed in every mode: blocks, addresses and names, with or without a port: 10.0.0.0/8:443, [fd00::/8], hooks.internal:8080",
  },
  denyAddresses: {
    type: "text",
    env: "WALHOOK_DENY_ADDRESSES",
    flag: "deny-addresses",
    unit: "list",
    default: "",
    help: "refused in every mode, also where allow-addresses allows it; written the same way",
  },
  secretsFolder: {
    type: "text",
    env: "WALHOOK_SECRETS_FOLDER",
    flag: "secrets-folder",
    unit: "folder",
    default: "/run/secrets",
    help: "the folder of the files that secrets may refer to (file:…); none outside of it is read",
  },
  tlsDirectory: {
    type: "text",
    env: "WALHOOK_TLS_DIRECTORY",
    flag: "tls-directory",
    unit: "folder",
    default: "",
    help: "certificates that webhooks name: tls_profile partner is partner.ca.pem, and partner.cert.pem with partner.key.pem",
  },
  retentionDays: {
    type: "integer",
    env: "WALHOOK_RETENTION_DAYS",
    flag: "retention-days",
    unit: "days",
    min: 1,
    max: 36_500,
    default: 30,
    help: "how long walhook.webhook_request_log keeps its rows",
  },
  bodyRetentionDays: {
    type: "integer",
    env: "WALHOOK_BODY_RETENTION_DAYS",
    flag: "body-retention-days",
    unit: "days",
    min: 1,
    max: 36_500,
    default: 14,
    help: "how long these rows keep the bodies of requests and answers; without them nothing can be replayed",
  },
  maxLogBytes: {
    type: "integer",
    env: "WALHOOK_MAX_LOG_BYTES",
    flag: "max-log-bytes",
    unit: "bytes",
    min: 1_048_576,
    max: 9_007_199_254_740_991,
    default: 10_737_418_240,
    help: "how large walhook.webhook_request_log may become; beyond it the oldest days go, never the present one",
  },
  rollupRetentionDays: {
    type: "integer",
    env: "WALHOOK_ROLLUP_RETENTION_DAYS",
    flag: "rollup-retention-days",
    unit: "days",
    min: 1,
    max: 36_500,
    default: 90,
    help: "how long walhook.webhook_rollup keeps what it has counted",
  },
} as const;

export type OptionName = keyof typeof OPTIONS;

export const OPTION_NAMES = Object.keys(OPTIONS) as readonly OptionName[];

/** The same table, seen as a list of specifications. */
export const OPTION_SPECS: Readonly<Record<OptionName, OptionSpec>> = OPTIONS;

type ValueOf<Option extends OptionSpec> = Option extends { readonly type: "integer" }
  ? number
  : Option extends { readonly type: "choice"; readonly choices: readonly (infer Choice)[] }
    ? Choice
    : string;

/** What an operator can set. Both connection strings are always filled in. */
export type Config = { readonly [Name in OptionName]: ValueOf<(typeof OPTIONS)[Name]> };

/**
 * Reads the options: a flag wins over its environment variable, which wins over the default; an empty
 * variable counts as not set. The result is frozen.
 * @param flags values by flag name, as text
 * @param needsDatabase false: without a database both connection strings are empty
 * @throws WalhookError `bad_option` (exit code 2), naming the flag or variable and what it takes
 */
export function readConfig(
  flags: Readonly<Record<string, string | undefined>>,
  env: Readonly<Record<string, string | undefined>>,
  needsDatabase = true,
): Config {
  const values: Record<string, string | number> = {};
  for (const [name, option] of Object.entries(OPTION_SPECS)) {
    const fromFlag = flags[option.flag];
    const text = fromFlag ?? (env[option.env] || undefined);
    const where = fromFlag === undefined ? option.env : `--${option.flag}`;
    const value = text === undefined ? option.default : parseOption(option, text, where);
    if (value !== null) values[name] = value;
  }
  if (!needsDatabase) values["databaseUrl"] ??= "";
  if (values["databaseUrl"] === undefined) {
    throw new WalhookError("no database given", {
      code: "bad_option",
      exitCode: EXIT_CODES.usage,
      hint: "Set DATABASE_URL, or give --database-url postgresql://role:password@host:5432/database.",
    });
  }
  values["replicationUrl"] ??= values["databaseUrl"];
  return Object.freeze(values) as Config;
}

function parseOption(option: OptionSpec, text: string, where: string): string | number {
  if (option.type === "text") return text;
  if (option.type === "choice") {
    if (option.choices.includes(text)) return text;
    throw badOption(`${where} is "${text}"`, `Use one of: ${option.choices.join(", ")}.`);
  }
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= option.min && value <= option.max) return value;
  throw badOption(`${where} is "${text}"`, `Use a whole number of ${option.unit}, ${option.min} to ${option.max}.`);
}

function badOption(message: string, hint: string): WalhookError {
  return new WalhookError(message, { code: "bad_option", exitCode: EXIT_CODES.usage, hint });
}
