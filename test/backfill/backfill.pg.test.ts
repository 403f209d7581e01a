import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";
import { startCli } from "../support/walhook-cli.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("backfill");
});
afterEach(() => system.drop());

interface Sent {
  readonly event: string;
  readonly name: string;
  readonly doc: { readonly id: number; readonly v: number };
}
const sent = ({ body }: ReceivedRequest): Sent => (JSON.parse(body.toString()) as { data: Sent }).data;
const progress = async (): Promise<Record<string, unknown>> =>
  (
    await system.admin(
      "select state, rows_done::int, rows_estimated::int, rows_sent::int, percent::float8, error from walhook.backfill_progress",
    )
  )[0]!;
const ended = (state = "done") => eventually(async () => (await progress())["state"] === state, { withinMs: 30_000 });

describe("walhook.backfill", () => {
  it("sends the rows that exist, once each, as doc event backfill, whatever the webhook's events are; its condition applies", async () => {
    await system.app(
      "create table orders (id int primary key, v int); insert into orders select n, n from generate_series(1, 1200) n",
    );
    await system.webhook("w", "orders", "on_trash", { condition: "doc.v % 2 = 0" });
    await system.startBridge();
    await system.admin("select walhook.backfill('w', 'doc.id > 100')");
    await ended();
    await system.settled();
    const rows = system.received("w").map(sent);
    expect(rows.map(({ doc }) => doc.id).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 550 }, (_, n) => 102 + 2 * n),
    );
    expect(new Set(rows.map(({ event }) => event))).toEqual(new Set(["backfill"]));
    expect(await progress()).toEqual({
      state: "done",
      rows_done: 1100,
      rows_estimated: 1100,
      rows_sent: 550,
      percent: 100,
      error: null,
    });
    expect(await system.look("select distinct source, docevent, outcome from walhook.webhook_request_log")).toEqual([
      { source: "backfill", docevent: "backfill", outcome: "delivered" },
    ]);
    expect(await system.look("select proname from pg_proc where proname = 'b1'")).toEqual([]);
  });

  it("reads values as the stream has them, and keys of several columns", async () => {
    await system.app(
      `create table things (a text, b numeric, t timestamptz, f float8, j jsonb, c bytea, primary key (a, b));
       insert into things values ('x"y', 1.50, '2026-01-02 03:04:05.678+02', 0.1, '{"k": 1.0}', '\\x00ff'), ('x"y', 2, null, null, null, null)`,
    );
    await system.webhook("w", "things", "after_insert");
    await system.startBridge();
    await system.admin("select walhook.backfill('w')");
    await ended();
    await system.settled();
    const docOf = ({ body }: ReceivedRequest): string => body.toString().replace(/^.*"doc":(\{.*\}),"lsn".*$/s, "$1");
    const before = system.received("w").map(docOf).toSorted();
    expect(before).toHaveLength(2);
    await system.app(
      "create table copy as select * from things; delete from things; insert into things select * from copy",
    );
    await system.settled();
    expect(system.received("w").slice(2).map(docOf).toSorted()).toEqual(before);
  });

  it("can be paused, goes on after a restart, and can be cancelled", async () => {
    await system.app(
      "create table orders (id int primary key, v int); insert into orders select n, n from generate_series(1, 5000) n",
    );
    await system.webhook("w", "orders", "after_insert");
    system.receiver.answer({ delayMs: 20 });
    const first = await system.startBridge();
    await system.admin("select walhook.backfill('w')");
    await eventually(() => system.received("w").length > 100);
    await system.admin("select walhook.pause_backfill(1)");
    await eventually(async () => (await progress())["state"] === "paused");
    await system.settled();
    const count = system.received("w").length;
    expect(count).toBeLessThan(5000);
    await first.stop();
    await system.startBridge();
    await system.caughtUp();
    expect(system.received("w")).toHaveLength(count);
    await system.admin("select walhook.resume_backfill(1)");
    await eventually(() => system.received("w").length > count + 100);
    await system.admin("select walhook.cancel_backfill(1)");
    await ended("cancelled");
    await system.settled();
    expect(system.received("w").length).toBeLessThan(5000);
    expect(new Set(system.received("w").map((request) => sent(request).name)).size).toBe(system.received("w").length);
  });

  it("does not fill the queue of a receiver that is away", async () => {
    await system.app(
      "create table orders (id int primary key, v int); insert into orders select n, n from generate_series(1, 5000) n",
    );
    await system.webhook("w", "orders", "after_insert");
    system.receiver.answer({ status: 500 });
    await system.startBridge();
    await system.admin("select walhook.backfill('w')");
    const queued = async (): Promise<number> =>
      Number((await system.look("select count(*) as n from walhook.webhook_queue"))[0]!["n"]);
    await eventually(async () => (await queued()) >= 500);
    await system.caughtUp();
    expect(await queued()).toBeLessThanOrEqual(1000);
  });

  it("is refused to who may not read the table, without a key, and for what is no expression", async () => {
    await system.app("create table orders (id int primary key, v int); create table bare (v int)");
    await system.webhook("w", "orders", "after_insert");
    await system.webhook("bare", "bare", "after_insert");
    await expect(system.admin("select walhook.backfill('bare')")).rejects.toThrow(/no primary key/);
    await expect(system.admin("select walhook.backfill('w', 'true); select (true')")).rejects.toThrow(/syntax error/);
    await expect(system.admin("select walhook.backfill('w', 'true)) or ((true')")).rejects.toThrow(/syntax error/);
    await system.app(`revoke select on orders from "${system.roles.admin}"`);
    await expect(system.admin("select walhook.backfill('w')")).rejects.toThrow(/may not read/);
  });
});

describe("a backfill beside changes", () => {
  it("sends no row that is older than what was sent of it before, over two bridges that are killed", async () => {
    await system.app(
      "create table orders (id int primary key, v int); insert into orders select n, 0 from generate_series(1, 5000) n",
    );
    await system.webhook("w", "orders", "on_update, on_trash");
    system.receiver.answer({ delayMs: 2 });
    const start = () => startCli(["run"], { DATABASE_URL: system.db.urlAs(system.roles.bridge) });
    let bridge = start();
    await system.admin("select walhook.backfill('w')");
    const writer = await system.db.connect(system.roles.app);
    let isOver = false;
    const write = async (): Promise<void> => {
      // About 250 changes a second, everywhere in the table.
      for (let round = 1; !isOver; round++) {
        await writer.query("update orders set v = v + 1 from pg_sleep(0.02) where id % 997 = $1 % 997", [round]);
      }
    };
    const writing = write();
    try {
      for (const part of [1000, 2500]) {
        await eventually(async () => Number((await progress())["rows_done"]) >= part, { withinMs: 20_000 });
        bridge.child.kill("SIGKILL");
        await bridge.ended;
        bridge = start();
      }
      await ended();
      isOver = true;
      await writing;
      await system.settled(60_000);
    } finally {
      isOver = true;
      await writing;
      bridge.child.kill("SIGTERM");
      await bridge.ended;
    }
    const newest = new Map<number, number>();
    const backfilled = new Map<number, string>();
    const known = new Set<string>();
    for (const request of system.received("w")) {
      const { event, doc } = sent(request);
      const id = request.headers["webhook-id"]!;
      // What a killed bridge could not write down comes again, in order, with the same id.
      if (!known.has(id)) expect(doc.v).toBeGreaterThanOrEqual(newest.get(doc.id) ?? 0);
      known.add(id);
      newest.set(doc.id, doc.v);
      if (event !== "backfill") continue;
      // Again only with the same id.
      expect(backfilled.get(doc.id) ?? id).toBe(id);
      backfilled.set(doc.id, id);
    }
    const rows = (await system.look("select id, v from orders")) as { id: number; v: number }[];
    for (const { id, v } of rows) expect(newest.get(id)).toBe(v);
    expect(
      await system.look(
        "select delivery_id from walhook.webhook_request_log where outcome = 'delivered' group by 1 having count(*) > 1",
      ),
    ).toEqual([]);
    expect(Number((await progress())["percent"])).toBeGreaterThanOrEqual(95);
  });
});
