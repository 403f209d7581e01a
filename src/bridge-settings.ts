import { OPTIONS, type Config } from "./config.ts";
import { DEFAULT_RETRY_SCHEDULE_MS } from "./deliver/retry.ts";

/** How to build a bridge. Only the database is needed. */
export interface BridgeOptions {
  /** `postgresql://role:password@host:5432/database?sslmode=…`; a pooler may stand before it. */
  readonly databaseUrl: string;
  /** The same database without a pooler, for the replication connection; default: `databaseUrl`. */
  readonly replicationUrl?: string;
  /** How long one question to the conditions may take. Default 250. */
  readonly conditionTimeoutMs?: number;
  /** How long the cursor waits for a delivery before the delivery moves into the queue. Default 1,000. */
  readonly graceMs?: number;
  /** Changes in memory, the bodies made of them, and bodies from the queue may each take so many bytes. Default 16 MiB, at least 4. */
  readonly maxBytesInFlight?: number;
  /** Deliveries open in memory at which the pipe waits. Default 4,000. */
  readonly maxOpenDeliveries?: number;
  /** What is read of a row; beyond it its longest values are left out. Default 16 MiB, at most 100,000,000. */
  readonly maxRowBytes?: number;
  /** The largest body that is sent; a larger one is logged as an error. Default 8 MiB, at most 100,000,000. */
  readonly maxBodyBytes?: number;
  /** Requests that one webhook may have under way at once. Default 50. */
  readonly concurrencyPerWebhook?: number;
  /** Requests under way at once in all; beyond it each webhook still has its share, at least one. Default 1,000. */
  readonly maxOpenRequests?: number;
  /** Where webhooks may go. Default `internal`: the internet and the own network, but neither cloud metadata nor the database. */
  readonly addressMode?: Config["addressMode"];
  /** Addresses, blocks and names, each with or without a port, that are allowed in every mode: `10.0.0.0/8:443, hooks.internal`. */
  readonly allowAddresses?: string;
  /** The same for what is refused in every mode. */
  readonly denyAddresses?: string;
  /** The folder of the files that secrets may refer to. Default `/run/secrets`. */
  readonly secretsFolder?: string;
  /** The folder of certificates that webhooks name by `tls_profile`. Default: none. */
  readonly tlsDirectory?: string;
  /** How many days of the log are kept. Default 30. */
  readonly retentionDays?: number;
  /** How many days its rows keep bodies. Default 14. */
  readonly bodyRetentionDays?: number;
  /** How large the log may become; beyond it the oldest days go. Default 10 GiB. */
  readonly maxLogBytes?: number;
  /** How many days what is counted of it is kept. Default 90. */
  readonly rollupRetentionDays?: number;
  /** The delays before each further attempt. Default: the schedule of Standard Webhooks, 76 hours. */
  readonly retryScheduleMs?: readonly number[];
  /** How long `stop` waits for requests under way. Default 5,000. */
  readonly drainMs?: number;
}

export type BridgeSettings = Required<BridgeOptions>;

/** The options with their defaults, which are those of the command line. */
export function settingsOf(options: BridgeOptions): BridgeSettings {
  return Object.freeze({
    replicationUrl: options.databaseUrl,
    conditionTimeoutMs: OPTIONS.conditionTimeoutMs.default,
    graceMs: OPTIONS.graceMs.default,
    maxBytesInFlight: OPTIONS.maxBytesInFlight.default,
    maxOpenDeliveries: OPTIONS.maxOpenDeliveries.default,
    maxRowBytes: OPTIONS.maxRowBytes.default,
    maxBodyBytes: OPTIONS.maxBodyBytes.default,
    concurrencyPerWebhook: OPTIONS.concurrencyPerWebhook.default,
    maxOpenRequests: OPTIONS.maxOpenRequests.default,
    addressMode: OPTIONS.addressMode.default,
    allowAddresses: OPTIONS.allowAddresses.default,
    denyAddresses: OPTIONS.denyAddresses.default,
    tlsDirectory: OPTIONS.tlsDirectory.default,
    secretsFolder: OPTIONS.secretsFolder.default,
    retentionDays: OPTIONS.retentionDays.default,
    bodyRetentionDays: OPTIONS.bodyRetentionDays.default,
    maxLogBytes: OPTIONS.maxLogBytes.default,
    rollupRetentionDays: OPTIONS.rollupRetentionDays.default,
    retryScheduleMs: DEFAULT_RETRY_SCHEDULE_MS,
    drainMs: 5_000,
    ...options,
  });
}
