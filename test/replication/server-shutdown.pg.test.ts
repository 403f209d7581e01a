import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PostgresServer, startPostgres } from "../../demo/postgres.ts";
import { type ReplicationStream, openReplication } from "../../src/replication/replication-stream.ts";
import { eventually } from "../support/eventually.ts";
import { commitEnds, insertedIds, receive } from "./streaming.ts";

let dir: string;
let server: PostgresServer;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "walhook-shutdown-"));
  await chmod(dir, 0o755);
  const native = process.env["WALHOOK_TEST_NATIVE"];
  server = await startPostgres({
    dataDir: join(dir, "data"),
    ...(native === undefined ? {} : { nativeDir: native }),
    settings: ["fsync=off", "max_connections=20", "shared_buffers=16MB"],
  });
  await query("create table item (id text primary key)");
  await query("create publication p for table item");
  await query("select pg_create_logical_replication_slot('s', 'pgoutput')");
});

afterAll(async () => {
  await server.stop("immediate").catch(() => {});
  await rm(dir, { recursive: true, force: true });
});

async function query(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: server.url("postgres") });
  await client.connect();
  await client.query(sql);
  await client.end();
}

function open(): Promise<ReplicationStream> {
  const connection = { connectionString: server.url("postgres") };
  return openReplication({ connection, slotName: "s", publicationNames: ["p"] });
}

/** What the bridge does when it has nothing left to do. */
function acknowledgeAll(stream: ReplicationStream): void {
  stream.frames.subscribe({
    next: (frame) => {
      if (frame.kind === "keepalive") stream.acknowledge(frame.lsn);
    },
    error: () => {},
  });
}

describe("a server that shuts down", () => {
  it("is not held up by a connected bridge that has acknowledged everything", async () => {
    const stream = await open();
    acknowledgeAll(stream);
    await query("insert into item values ('a')");
    const started = performance.now();
    await server.stop("fast");
    expect(performance.now() - started).toBeLessThan(10_000);
    await server.start();
  });

  it("ends the stream with an error when it crashes; the next connection gets what was not acknowledged", async () => {
    const first = await open();
    const before = receive(first);
    await query("insert into item values ('b')");
    await eventually(() => insertedIds(before.frames).includes("b"));
    await server.stop("immediate");
    await eventually(() => before.error);
    await server.start();
    const second = await open();
    const after = receive(second);
    await eventually(() => insertedIds(after.frames).includes("b"));
    second.acknowledge(commitEnds(after.frames).at(-1) ?? 0n);
    await second.stop();
    expect(after.error).toBeNull();
  });
});
