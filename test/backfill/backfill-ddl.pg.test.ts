import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("backfill_ddl");
  await system.app(
    "create table orders (id int primary key, v int); insert into orders select n, n from generate_series(1, 1500) n",
  );
  await system.webhook("w", "orders", "on_trash");
  await system.startBridge();
});
afterEach(() => system.drop());

/** The bridge waits for the table. */
const waits = () =>
  eventually(
    async () =>
      (
        await system.look(
          `select from pg_locks l join pg_stat_activity a using (pid)
            where not l.granted and l.locktype = 'relation' and a.usename = $1 and a.datname = current_database()`,
          [system.roles.bridge],
        )
      ).length > 0,
  );
const isDone = () =>
  eventually(
    async () => (await system.look("select from walhook.backfill_progress where state = 'done'")).length === 1,
  );

describe("a backfill that waits for somebody who changes its table", () => {
  it.each([
    "alter table orders alter v type bigint",
    "alter table orders drop column v",
    "alter table orders rename column v to w",
    "alter table orders rename to sales",
    "truncate orders; insert into orders select n, n from generate_series(1, 1500) n",
  ])("in its middle sends all rows that are there then: %s", async (change) => {
    system.receiver.answer({ delayMs: 2 });
    await system.admin("select walhook.backfill('w')");
    await eventually(() => system.received("w").length > 50);
    await system.admin("select walhook.pause_backfill(1)");
    await system.settled();
    const sent = system.received("w").length;
    expect(sent).toBeLessThan(1500);
    const changing = await system.db.connect(system.roles.app);
    await changing.query(`begin; ${change}`);
    system.receiver.answer({});
    await system.admin("select walhook.resume_backfill(1)");
    await waits();
    await changing.query("commit");
    await isDone();
    await system.settled();
    expect(system.received("w").length).toBe(1500);
  });

  it("at its start, too: to who looks before the change is committed the table would be empty", async () => {
    const changing = await system.db.connect(system.roles.app);
    await changing.query("begin; alter table orders alter v type bigint");
    await system.admin("select walhook.backfill('w')");
    await waits();
    await changing.query("commit");
    await isDone();
    await system.settled();
    expect(system.received("w").length).toBe(1500);
  });
});
