import { existsSync } from "node:fs";
import { mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../../../demo/postgres.ts";
import { ROOT } from "../../../torture/root.ts";
import { PACKAGED_SERVER, type Peer, type Place, type RunningPeer } from "../peer.ts";
import { PeerProcess } from "../peer-process.ts";

const INSTALLED = join(ROOT, ".peers", "debezium-server");

type Properties = Readonly<Record<string, string | number>>;

/** The postgres example of `conf/application.properties.example`, with the HTTP sink and `pgoutput`. */
const DEFAULT: Properties = {
  "debezium.source.offset.flush.interval.ms": 0,
};

/**
 * By the connector's and the server's documentation: no schema in each body, no wait between polls, larger batches, no
 * copy of the table at the start, positions stored once a second.
 */
const TUNED: Properties = {
  "debezium.format.key.schemas.enable": "false",
  "debezium.format.value.schemas.enable": "false",
  "debezium.source.poll.interval.ms": 1,
  "debezium.source.max.batch.size": 8192,
  "debezium.source.max.queue.size": 32_768,
  "debezium.source.snapshot.mode": "no_data",
  "debezium.source.offset.flush.interval.ms": 1000,
};

/** Debezium Server with its HTTP sink, which has one request under way at a time. */
export const debezium: Peer = {
  name: "Debezium Server 2.7.3",
  server: PACKAGED_SERVER,
  missing: () =>
    Promise.resolve(
      existsSync(INSTALLED) ? null : "not in .peers/debezium-server; run bench/peers/debezium/install.sh",
    ),
  variants: [
    { name: "default", start: (place) => start(place, DEFAULT) },
    { name: "tuned", start: (place) => start(place, TUNED) },
  ],
};

async function start({ stage, sinkUrl }: Place, properties: Properties): Promise<RunningPeer> {
  const folder = join(stage.folder, "debezium-server");
  await mkdir(join(folder, "conf"), { recursive: true });
  await mkdir(join(folder, "data"));
  for (const name of await readdir(INSTALLED))
    if (name !== "conf") await symlink(join(INSTALLED, name), join(folder, name));
  const all: Properties = {
    "debezium.sink.type": "http",
    "debezium.sink.http.url": sinkUrl,
    "debezium.source.connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "debezium.source.offset.storage.file.filename": "data/offsets.dat",
    "debezium.source.database.hostname": "127.0.0.1",
    "debezium.source.database.port": stage.server.port,
    "debezium.source.database.user": "postgres",
    "debezium.source.database.password": "postgres",
    "debezium.source.database.dbname": "bench",
    "debezium.source.topic.prefix": "bench",
    "debezium.source.schema.include.list": "public",
    "debezium.source.plugin.name": "pgoutput",
    "debezium.format.key": "json",
    "debezium.format.value": "json",
    "quarkus.http.port": await freePort(),
    "quarkus.log.console.json": "false",
    ...properties,
  };
  const lines = Object.entries(all).map(([key, value]) => `${key}=${value}`);
  await writeFile(join(folder, "conf", "application.properties"), `${lines.join("\n")}\n`);
  // `run.sh` ends in `exec java`: the process that is watched and killed is the server itself.
  return new PeerProcess(stage, { command: "bash", args: ["run.sh"], cwd: folder });
}
