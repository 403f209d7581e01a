import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { weightOf } from "../../src/replication/frame.ts";
import { parseLsn } from "../../src/replication/lsn.ts";
import type { ReplicationStream } from "../../src/replication/replication-stream.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { cuttableProxy } from "./cuttable-proxy.ts";
import {
  commitEnds,
  confirmedFlush,
  insertedIds,
  isActive,
  isBetweenTransactions,
  open as openStream,
  publish,
  receive,
  slotOf,
} from "./streaming.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase("stream");
  await database.query("create table item (id text primary key, body text)");
  await publish(database, "item");
  await database.query(`alter database "${database.name}" set wal_sender_timeout = '900ms'`);
  await database.query(`alter database "${database.name}" set datestyle = 'German, DMY'`);
});

afterAll(() => database.drop());

/** A stream that does not outlive its test. */
async function open(...args: Parameters<typeof openStream>): Promise<ReplicationStream> {
  const stream = await openStream(...args);
  onTestFinished(() => stream.stop());
  return stream;
}

function insert(...ids: string[]): Promise<unknown> {
  return database.query("insert into item select unnest($1::text[])", [ids]);
}

/** Acknowledges everything there is, so that the next test starts with an empty stream. */
async function drain(): Promise<void> {
  const { rows } = await database.query("select pg_current_wal_lsn()::text as lsn");
  const end = parseLsn((rows[0] as { lsn: string }).lsn);
  const stream = await open(database);
  const received = receive(stream);
  await eventually(() => received.frames.some((frame) => frame.lsn >= end));
  stream.acknowledge(end);
  await stream.stop();
}

describe("the replication stream", () => {
  it("tells the server exactly what was acknowledged, not a byte more", async () => {
    await drain();
    const stream = await open(database);
    const received = receive(stream);
    await insert("exact");
    await eventually(() => insertedIds(received.frames).includes("exact") && received.tags.includes("C"));
    const [end = 0n] = commitEnds(received.frames);
    stream.acknowledge(end);
    await eventually(async () => (await confirmedFlush(database)) >= end);
    expect(await confirmedFlush(database)).toBe(end);
    await stream.stop();
    expect(received.isComplete).toBe(true);
  });

  it("loses no transaction whose Commit begins exactly where the last one ended, over a restart", async () => {
    await drain();
    let adjacent = 0;
    // Other activity on the server can come between the two, so it is tried until they touch.
    for (let round = 0; round < 30 && adjacent < 3; round++) {
      const writer = await database.connect();
      await writer.query("begin");
      await writer.query("insert into item values ($1)", [`open ${round}`]);
      const first = await open(database);
      const before = receive(first);
      await insert(`unrelated ${round}`);
      await eventually(() => before.tags.includes("C"));
      const end = commitEnds(before.frames).at(-1) ?? 0n;
      first.acknowledge(end);
      await first.stop();
      await writer.query("commit");
      const second = await open(database);
      const after = receive(second);
      await eventually(() => after.tags.includes("C"));
      expect(insertedIds(after.frames)).toEqual([`open ${round}`]);
      const begin = after.frames.find((frame) => frame.kind === "data" && frame.bytes[0] === 0x42);
      if (begin?.kind === "data" && begin.bytes.readBigUInt64BE(1) === end) adjacent++;
      second.acknowledge(commitEnds(after.frames).at(-1) ?? 0n);
      await second.stop();
    }
    expect(adjacent).toBeGreaterThan(0);
  });

  it("acknowledges nothing that was only received, however many signs of life it sends", async () => {
    await drain();
    const confirmed = await confirmedFlush(database);
    const stream = await open(database);
    const received = receive(stream);
    await insert("received");
    await eventually(() => received.tags.includes("C"));
    await eventually(() => replies(3));
    expect(await confirmedFlush(database)).toBe(confirmed);
    await stream.stop();
    expect(await confirmedFlush(database)).toBe(confirmed);
  });

  it("lets no other timer acknowledge, either, when it has no reason to send anything itself", async () => {
    await drain();
    const confirmed = await confirmedFlush(database);
    const connectionString = `${database.url}?options=-c%20wal_sender_timeout%3D0`;
    const stream = await open(database, { connection: { connectionString } });
    const received = receive(stream);
    await insert("no timer");
    await eventually(() => received.tags.includes("C"));
    // The library's own timer looks once a second whether anything was sent lately.
    const opened = performance.now();
    await eventually(() => performance.now() - opened > 2500);
    expect(await confirmedFlush(database)).toBe(confirmed);
    await stream.stop();
  });

  it("resumes at what was acknowledged, not at what was received", async () => {
    await drain();
    const first = await open(database);
    const before = receive(first);
    await insert("one");
    await insert("two");
    await insert("three");
    await eventually(() => commitEnds(before.frames).length === 3);
    first.acknowledge(commitEnds(before.frames)[0] ?? 0n);
    await first.stop();
    const second = await open(database);
    const after = receive(second);
    await eventually(() => commitEnds(after.frames).length === 2);
    expect(insertedIds(after.frames)).toEqual(["two", "three"]);
    await second.stop();
  });

  it("never goes back when a smaller LSN is acknowledged later", async () => {
    const stream = await open(database);
    const received = receive(stream);
    await insert("a");
    await insert("b");
    await eventually(() => insertedIds(received.frames).includes("b") && isBetweenTransactions(received));
    const ends = commitEnds(received.frames);
    stream.acknowledge(ends.at(-1) ?? 0n);
    stream.acknowledge(ends[0] ?? 0n);
    await stream.stop();
    expect(await confirmedFlush(database)).toBe(ends.at(-1));
  });

  it("gives keepalives in wire order: what ended before one has come before it", async () => {
    await drain();
    const stream = await open(database);
    const received = receive(stream);
    for (let n = 0; n < 50; n++) {
      await Promise.all([insert(`k${n}`), database.query("select txid_current()"), database.query("analyze item")]);
      if (n % 10 === 0) await eventually(() => received.tags.split("k").length > n / 10);
    }
    await eventually(() => commitEnds(received.frames).length >= 50);
    let keepalive = 0n;
    const tooLate = received.frames.filter((frame) => {
      if (frame.kind === "keepalive") keepalive = frame.lsn > keepalive ? frame.lsn : keepalive;
      return commitEnds([frame]).some((end) => end <= keepalive);
    });
    expect(received.tags).toContain("k");
    expect(tooLate).toEqual([]);
    await stream.stop();
  });

  it("ends with the server's error when the server ends the connection", async () => {
    const stream = await open(database);
    const received = receive(stream);
    await database.query("select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1", [
      slotOf(database),
    ]);
    await eventually(() => received.error);
    expect(received.error).toMatchObject({ code: "57P01" });
    await stream.stop();
    expect(received.isComplete).toBe(false);
  });

  it("ends with an error when the network goes silent", async () => {
    const proxy = await cuttableProxy(database.url);
    onTestFinished(() => proxy.close());
    const stream = await open(database, { connection: { connectionString: proxy.url } });
    const received = receive(stream);
    await insert("before the silence");
    await eventually(() => received.tags.includes("C"));
    proxy.fallSilent();
    await eventually(() => received.error);
    expect(received.error).toMatchObject({ name: "ReplicationLostError", code: "08006" });
    await eventually(async () => !(await isActive(database)));
  });

  it("ends with an error when the connection is cut", async () => {
    const proxy = await cuttableProxy(database.url);
    onTestFinished(() => proxy.close());
    const stream = await open(database, { connection: { connectionString: proxy.url } });
    const received = receive(stream);
    proxy.cut();
    await eventually(() => received.error);
    expect(received.isComplete).toBe(false);
    await eventually(async () => !(await isActive(database)));
  });

  it("stays connected on an idle server for much longer than wal_sender_timeout", async () => {
    const stream = await open(database);
    const received = receive(stream);
    await eventually(() => replies(9));
    expect(received.error).toBeNull();
    await insert("still there");
    await eventually(() => insertedIds(received.frames).includes("still there"));
    await stream.stop();
  });

  it("stops reading while nothing is released, stays connected meanwhile, and goes on afterwards", async () => {
    await drain();
    const highWaterBytes = 256 * 1024;
    const stream = await open(database, { highWaterBytes });
    const received = receive(stream);
    await database.query("insert into item select 'r' || g, repeat('x', 10000) from generate_series(1, 3000) g");
    await eventually(() => heldBytes(received.frames) >= highWaterBytes);
    await eventually(() => replies(9));
    const held = heldBytes(received.frames);
    expect(held).toBeLessThan(highWaterBytes + 128 * 1024);
    expect(received.error).toBeNull();
    let released = 0;
    await eventually(() => {
      const bytes = heldBytes(received.frames);
      stream.release(bytes - released);
      released = bytes;
      return received.tags.includes("C");
    });
    expect(insertedIds(received.frames)).toHaveLength(3000);
    await stream.stop();
  });

  it("delivers what came before anybody subscribed", async () => {
    await drain();
    await insert("early");
    const stream = await open(database);
    await eventually(() => replies(2));
    const received = receive(stream);
    await eventually(() => received.tags.includes("C"));
    expect(insertedIds(received.frames)).toEqual(["early"]);
    await stream.stop();
  });

  it("has one subscriber", async () => {
    const stream = await open(database);
    receive(stream);
    const second = receive(stream);
    expect(second.error).toBeInstanceOf(TypeError);
    await stream.stop();
  });

  it("waits for the server to have read the last acknowledgement before it closes", async () => {
    for (let round = 0; round < 20; round++) {
      const stream = await open(database);
      const received = receive(stream);
      await insert(`last ${round}`);
      await eventually(() => insertedIds(received.frames).includes(`last ${round}`) && isBetweenTransactions(received));
      const end = commitEnds(received.frames).at(-1) ?? 0n;
      stream.acknowledge(end);
      await stream.stop();
      expect(await confirmedFlush(database)).toBe(end);
    }
  });

  it("stops within its time in the middle of a transaction that nobody takes", async () => {
    await drain();
    const stream = await open(database, { highWaterBytes: 64 * 1024 });
    const received = receive(stream);
    await database.query("insert into item select 's' || g, repeat('x', 10000) from generate_series(1, 3000) g");
    await eventually(() => received.frames.length > 0);
    const started = performance.now();
    await stream.stop();
    expect(performance.now() - started).toBeLessThan(4500);
    await eventually(async () => !(await isActive(database)));
  });

  it("is not ended by a query timeout of the client", async () => {
    const stream = await open(database, { connection: { connectionString: database.url, query_timeout: 300 } });
    const received = receive(stream);
    await eventually(() => replies(3));
    expect(received.error).toBeNull();
    await stream.stop();
  });

  it("gives values in the pinned text form, whatever the database's settings are", async () => {
    await database.query("create table moment (at timestamptz)");
    await database.query("alter publication p add table moment");
    const stream = await open(database);
    const received = receive(stream);
    await database.query("insert into moment values ('2026-11-24 12:00:00.123456+02')");
    await eventually(() => insertedIds(received.frames).includes("2026-11-24 10:00:00.123456+00"));
    await stream.stop();
    expect(received.error).toBeNull();
  });
});

function heldBytes(frames: readonly { readonly kind: string; readonly bytes?: Buffer }[]): number {
  return frames.reduce((sum, { bytes }) => sum + (bytes === undefined ? 0 : weightOf({ bytes })), 0);
}

/** Whether the server has seen so many of our status messages since the first look at it. */
let seen: { pid: number; times: Set<string> } = { pid: 0, times: new Set() };
async function replies(count: number): Promise<boolean> {
  const { rows } = await database.query(
    `select r.pid, r.reply_time::text as at from pg_stat_replication r
     join pg_replication_slots s on s.active_pid = r.pid where s.slot_name = $1 and r.reply_time is not null`,
    [slotOf(database)],
  );
  const row = rows[0] as { pid: number; at: string } | undefined;
  if (row === undefined) return false;
  if (row.pid !== seen.pid) seen = { pid: row.pid, times: new Set() };
  seen.times.add(row.at);
  return seen.times.size > count;
}
