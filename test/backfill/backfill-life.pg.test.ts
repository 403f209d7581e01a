import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";
import { startCli } from "../support/walhook-cli.ts";

/** May configure, and is nobody's author: what it loses holds no webhook. */
const asker = `asker_${randomBytes(4).toString("hex")}`;
let system: System;
beforeEach(async () => {
  system = await startSystem("backfill_life");
  await system.look(`create role ${asker} login in role walhook_admin; grant usage on schema public to ${asker}`);
});
afterEach(async () => {
  await system.look(`drop owned by ${asker}; drop role ${asker}`);
  await system.drop();
});

interface Sent {
  readonly doctype: string;
  readonly name: string;
  readonly doc: Readonly<Record<string, unknown>>;
}
const sent = ({ body }: ReceivedRequest): Sent => (JSON.parse(body.toString()) as { data: Sent }).data;
const docs = (): readonly Record<string, unknown>[] => system.received("w").map((request) => sent(request).doc);
const progress = async (id = 1): Promise<Record<string, unknown>> =>
  (
    await system.admin(
      `select state, rows_done::int, rows_estimated::int, rows_sent::int, percent::float8, error, waits_for
         from walhook.backfill_progress where backfill_id = $1`,
      [id],
    )
  )[0]!;
const isIn = (state: string, id = 1) => eventually(async () => (await progress(id))["state"] === state);
const waitsFor = (pattern: RegExp) => eventually(async () => pattern.test(String((await progress())["waits_for"])));

/** A backfill of 1,500 rows that stands somewhere in the middle, with nothing of it under way. */
async function halfway(role = system.roles.admin): Promise<number> {
  await system.app(
    "create table orders (id int primary key, u int, v int); insert into orders select n, n, n from generate_series(1, 1500) n",
  );
  await system.app(`grant select on orders to ${asker}`);
  await system.webhook("w", "orders", "on_trash");
  system.receiver.answer({ delayMs: 5 });
  await system.startBridge();
  await system.db.queryAs(role, "select walhook.backfill('w')");
  await eventually(() => system.received("w").length > 50);
  await system.admin("select walhook.pause_backfill(1)");
  await system.settled();
  expect(await progress()).toMatchObject({ state: "paused", waits_for: "you: select walhook.resume_backfill(1)" });
  const { length } = system.received("w");
  expect(length).toBeLessThan(1500);
  return length;
}
const resume = (id = 1) => system.admin("select walhook.resume_backfill($1) as is_changed", [id]);
const ids = (): readonly number[] =>
  docs()
    .map(({ id }) => Number(id))
    .toSorted((a, b) => a - b);
const everyRowOnce = (): void => expect(ids()).toEqual(Array.from({ length: 1500 }, (_, n) => n + 1));

describe("a backfill in whose middle something happens", () => {
  it("follows columns that are added, dropped and renamed, and the table's new name", async () => {
    const before = await halfway();
    await system.app("alter table orders add column extra text default 'x'");
    await system.app("alter table orders drop column v");
    await system.app("alter table orders rename column u to w");
    await system.app("alter table orders rename to sales");
    await resume();
    await isIn("done");
    everyRowOnce();
    expect(docs()[before - 1]).toEqual({
      id: expect.any(Number) as number,
      u: expect.any(Number) as number,
      v: expect.any(Number) as number,
    });
    const { doctype, doc } = sent(system.received("w").at(-1)!);
    expect([doctype, Object.keys(doc)]).toEqual(["sales", ["id", "w", "extra"]]);
  });

  it("fails where who asked may not read the table any more, says what to do, and goes on where it was once that is mended", async () => {
    const before = await halfway(asker);
    await system.app(`revoke select on orders from ${asker}`);
    await resume();
    await isIn("failed");
    expect(await progress()).toMatchObject({
      error: "permission denied for table orders",
      waits_for: "you: mend what error says, then select walhook.resume_backfill(1)",
    });
    // Too early: it fails again.
    expect(await resume()).toEqual([{ is_changed: true }]);
    await eventually(
      async () =>
        (await system.look("select from walhook.backfill_state where state = 'failed' and resumes = 2")).length,
    );
    await system.app(`grant select on orders to ${asker}`);
    expect(system.received("w")).toHaveLength(before);
    await resume();
    await isIn("done");
    everyRowOnce();
    expect(await progress()).toMatchObject({ rows_done: 1500, rows_sent: 1500, error: null, waits_for: null });
    expect(await resume()).toEqual([{ is_changed: false }]);
  });

  it("that has failed is resumed, or cancelled, also while no bridge is there", async () => {
    await halfway(asker);
    await system.db.queryAs(asker, "begin; select walhook.backfill('w'); select walhook.pause_backfill(2); commit");
    await system.app(`revoke select on orders from ${asker}`);
    await resume(1);
    await resume(2);
    await isIn("failed", 1);
    await isIn("failed", 2);
    await system.stopBridges();
    await system.app(`grant select on orders to ${asker}`);
    await resume();
    await system.admin("select walhook.cancel_backfill(2)");
    await waitsFor(/^a bridge: none is at work$/);
    await system.startBridge();
    await isIn("done", 1);
    await isIn("cancelled", 2);
    expect(await system.look("select proname from pg_proc where proname ~ '^b[0-9]+$'")).toEqual([]);
  });

  it("fails where the table is dropped or has another key, and can be cancelled then", async () => {
    await halfway();
    await system.app("alter table orders drop constraint orders_pkey, add primary key (v)");
    await resume();
    await isIn("failed");
    expect((await progress())["error"]).toMatch(/^public.orders has another primary key .*Cancel it, and ask/);
    await system.app("drop table orders");
    await resume();
    await eventually(async () => String((await progress())["error"]).startsWith("the table is gone"));
    await system.admin("select walhook.cancel_backfill(1)");
    await isIn("cancelled");
  });

  it("waits while its webhook is disabled or paused, and is cancelled with it", async () => {
    const before = await halfway();
    await system.admin("update walhook.webhook set enabled = false");
    await resume();
    await waitsFor(/^its webhook: w is disabled$/);
    await system.admin("update walhook.webhook set enabled = true; select walhook.pause('w')");
    await waitsFor(/^its webhook: select walhook.resume\('w'\)$/);
    await system.caughtUp();
    expect(system.received("w")).toHaveLength(before);
    await system.admin("delete from walhook.webhook");
    await isIn("cancelled");
    expect(await system.look("select proname from pg_proc where proname = 'b1'")).toEqual([]);
  });

  it("fails where its webhook watches another table by now", async () => {
    await halfway();
    await system.app("create table others (id int primary key)");
    await system.admin("update walhook.webhook set webhook_doctype = 'others'");
    await resume();
    await isIn("failed");
    expect((await progress())["error"]).toBe("its webhook watches another table by now; cancel it");
  });

  it("waits for a table that somebody has locked, and says so", async () => {
    await halfway();
    const locker = await system.db.connect(system.roles.app);
    await locker.query("begin; lock table orders");
    await resume();
    await waitsFor(/^another try: see error$/);
    expect(await progress()).toMatchObject({ state: "running", error: "canceling statement due to lock timeout" });
    await locker.query("commit");
    await isIn("done");
    everyRowOnce();
    expect((await progress())["error"]).toBeNull();
  });

  it("goes on under a bridge that takes over, without a row left out or sent twice", async () => {
    await halfway();
    const second = startCli(["run"], { DATABASE_URL: system.db.urlAs(system.roles.bridge) });
    try {
      await resume();
      await isIn("done");
      await system.settled();
      const names = new Map<string, string>();
      // What was under way in the middle of it may come twice, under one id.
      for (const request of system.received("w")) {
        const id = request.headers["webhook-id"]!;
        expect(names.get(sent(request).name) ?? id).toBe(id);
        names.set(sent(request).name, id);
      }
      expect(names.size).toBe(1500);
      expect(
        await system.look(
          "select count(*)::int as rows, count(distinct delivery_id)::int as ids from walhook.webhook_request_log where outcome = 'delivered'",
        ),
      ).toEqual([{ rows: 1500, ids: 1500 }]);
    } finally {
      second.child.kill("SIGTERM");
      await second.ended;
    }
  });
});

describe("a backfill", () => {
  it("that is asked for while no bridge is there says so, and begins with one; cancelled before, it never does", async () => {
    await system.app("create table orders (id int primary key); insert into orders values (1)");
    await system.webhook("w", "orders", "after_insert");
    await system.admin("select walhook.backfill('w'), walhook.backfill('w')");
    expect(await progress()).toMatchObject({ state: "new", waits_for: "a bridge: none is at work" });
    await system.admin("select walhook.cancel_backfill(1)");
    await system.startBridge();
    await isIn("cancelled", 1);
    await isIn("done", 2);
    expect(docs()).toEqual([{ id: 1 }]);
  });

  it("of an empty table, and of one where no row is meant, is done at once", async () => {
    await system.app(
      "create table orders (id int primary key, v int); insert into orders select n, n from generate_series(1, 1000) n; create table nothing (id int primary key)",
    );
    await system.webhook("w", "nothing", "after_insert");
    await system.webhook("orders", "orders", "after_insert", { condition: "doc.v < 0" });
    await system.startBridge();
    await system.admin(
      "select walhook.backfill('w'), walhook.backfill('orders'), walhook.backfill('orders', 'doc.v < 0')",
    );
    await isIn("done", 1);
    await isIn("done", 2);
    await isIn("done", 3);
    const nothing = { state: "done", rows_done: 0, rows_estimated: 0, rows_sent: 0, percent: 100 };
    expect(await progress(1)).toMatchObject(nothing);
    expect(await progress(2)).toMatchObject({ rows_done: 1000, rows_estimated: 1000, rows_sent: 0, percent: 100 });
    expect(await progress(3)).toMatchObject(nothing);
    expect(system.receiver.requests).toEqual([]);
  });

  it("whose condition fails for one row logs that row as an error, and sends the others", async () => {
    await system.app(
      "create table orders (id int primary key, v int); insert into orders select n, n % 100 from generate_series(1, 250) n",
    );
    await system.webhook("w", "orders", "after_insert");
    await system.startBridge();
    await system.admin("select walhook.backfill('w', '1000 / doc.v > 0')");
    await isIn("done");
    await system.settled();
    expect(ids()).toEqual(Array.from({ length: 250 }, (_, n) => n + 1).filter((id) => id % 100 > 0));
    expect(
      await system.look(
        "select docname, outcome, error from walhook.webhook_request_log where outcome <> 'delivered' order by docname",
      ),
    ).toEqual(
      ["100", "200"].map((docname) => ({
        docname,
        outcome: "error",
        error: "backfill 1 cannot read the row: division by zero",
      })),
    );
  });

  it("beside another one of the same webhook sends each row once for each, in order", async () => {
    await system.app(
      "create table orders (id int primary key, v int); insert into orders select n, 0 from generate_series(1, 1200) n",
    );
    await system.webhook("w", "orders", "on_trash");
    await system.startBridge();
    const writer = await system.db.connect(system.roles.app);
    let isOver = false;
    const writing = (async () => {
      for (let round = 0; !isOver; round++) {
        await writer.query("update orders set v = v + 1 where id % 97 = $1", [round % 97]);
      }
    })();
    await system.admin("select walhook.backfill('w'), walhook.backfill('w')");
    await isIn("done", 1)
      .then(() => isIn("done", 2))
      .finally(() => (isOver = true));
    await writing;
    await system.settled();
    const newest = new Map<string, number>();
    for (const request of system.received("w")) {
      const { name, doc } = sent(request);
      expect(Number(doc["v"])).toBeGreaterThanOrEqual(newest.get(name) ?? 0);
      newest.set(name, Number(doc["v"]));
    }
    expect(newest.size).toBe(1200);
    expect(new Set(system.received("w").map(({ headers }) => headers["webhook-id"])).size).toBe(2400);
  });
});
