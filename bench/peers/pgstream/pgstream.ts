import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { freePort } from "../../../demo/postgres.ts";
import { until } from "../../wait.ts";
import { installedServer, knowsSetting, lacks } from "../debian-server.ts";
import type { Peer, Place, RunningPeer } from "../peer.ts";
import { PeerProcess } from "../peer-process.ts";

const run = promisify(execFile);
const COMMAND = process.env["PEERS_PGSTREAM"] ?? "pgstream";
const SLOT = "pgstream_bench";

/** pgstream's webhook target, which reads through the output plugin wal2json. */
export const pgstream: Peer = {
  name: "pgstream",
  server: { nativeDir: installedServer, settings: trustWal2json },
  missing,
  variants: [
    { name: "default", start: (place) => start(place, {}) },
    { name: "tuned (cached subscriptions)", start: (place) => start(place, CACHED) },
  ],
};

/** The subscriptions are read from their table once a minute, not for each event; the ids that it adds are left out. */
const CACHED: Readonly<Record<string, string>> = {
  PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_ENABLED: "true",
  PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_CACHE_REFRESH_INTERVAL: "1s",
};

/** Minor releases from 2026 on take only output plugins that their administrator has named. */
async function trustWal2json(): Promise<readonly string[]> {
  const setting = "output_plugin_libraries";
  return (await knowsSetting(setting)) ? [`${setting}=pgoutput, test_decoding, wal2json`] : [];
}

async function missing(): Promise<string | null> {
  try {
    await run(COMMAND, ["--version"]);
  } catch {
    return `there is no command ${COMMAND}; install pgstream as its README says, or set PEERS_PGSTREAM to it`;
  }
  return lacks("pkglibdir", "wal2json.so", "install wal2json (Debian: postgresql-<major>-wal2json)");
}

/** By its tutorial "PostgreSQL replication to webhooks": init, run, subscribe. */
async function start({ stage, sinkUrl }: Place, settings: Readonly<Record<string, string>>): Promise<RunningPeer> {
  const url = `${stage.server.url("bench")}?sslmode=disable`;
  const port = await freePort();
  const env = {
    PGSTREAM_POSTGRES_LISTENER_URL: url,
    PGSTREAM_POSTGRES_REPLICATION_SLOT_NAME: SLOT,
    PGSTREAM_WEBHOOK_SUBSCRIPTION_STORE_URL: url,
    PGSTREAM_WEBHOOK_SUBSCRIPTION_SERVER_ADDRESS: `127.0.0.1:${port}`,
    ...settings,
  };
  await run(COMMAND, ["init", "--postgres-url", url, "--replication-slot", SLOT]);
  const peer = new PeerProcess(stage, { command: COMMAND, args: ["run", "--log-level", "error"], env });
  await until("the server of subscriptions", () => subscribe(port, sinkUrl));
  return peer;
}

async function subscribe(port: number, url: string): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/webhooks/subscribe`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ url, schema: "public", table: "event", event_types: ["I"] }),
    });
    return response.ok;
  } catch {
    return false;
  }
}
