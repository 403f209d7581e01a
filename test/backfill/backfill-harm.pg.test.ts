import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Bridge } from "../../src/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("backfill_harm");
  await system.app(
    "create table orders (id int primary key, v int, big text); insert into orders select n, n from generate_series(1, 30) n; create table other (id int primary key)",
  );
});
afterEach(() => system.drop());

/** The states that it goes through from now on. */
function statesOf(bridge: Bridge): readonly string[] {
  const states: string[] = [];
  bridge.activity.subscribe((activity) => {
    if (activity.kind === "state") states.push(activity.state);
  });
  return states;
}
const isIn = (state: string) =>
  eventually(
    async () => (await system.look("select from walhook.backfill_progress where state = $1", [state])).length > 0,
  );
const errorOf = async () => (await system.look("select error from walhook.backfill_progress"))[0]?.["error"];

describe("a backfill harms nobody but itself", () => {
  it.each([
    ["raises the code of a lost connection", "public.lost('08006')", /the remote is gone/],
    ["raises that of a server that shuts down", "public.lost('57P01')", /the remote is gone/],
    ["wants to write", "nextval('public.numbers') > 0", /cannot execute nextval\(\) in a read-only transaction/],
  ])("where its condition %s: it fails, with these words", async (_, condition, words) => {
    await system.app(`create sequence numbers; grant usage on sequence numbers to ${system.roles.admin};
      create function lost(code text) returns boolean language plpgsql as $$ begin raise exception 'the remote is gone' using errcode = code; end $$`);
    await system.webhook("w", "orders", "on_trash");
    await system.webhook("z", "other", "after_insert");
    const states = statesOf(await system.startBridge());
    await system.db.queryAs(system.roles.admin, "select walhook.backfill('w', $1)", [condition]);
    await isIn("failed");
    expect(await errorOf()).toMatch(words);
    await system.app("insert into other values (1)");
    await eventually(() => system.received("z").length === 1);
    expect(states).toEqual([]);
  });

  it.each([
    ["a message", "raise notice '%', repeat('x', 200000000); return true;"],
    ["an error", "raise exception '%', repeat('x', 200000000) using errcode = '08006';"],
  ])(
    "where its condition raises %s of 200 MB: it fails, says so, and can go on once that is mended",
    async (_, body) => {
      const shouts = (does: string) =>
        system.app(
          `create or replace function shouts() returns boolean language plpgsql as $$ begin ${does} end $$; grant execute on function shouts to public`,
        );
      await shouts("return true;");
      await system.webhook("w", "orders", "on_trash");
      await system.webhook("z", "other", "after_insert");
      const states = statesOf(await system.startBridge());
      await shouts(body);
      await system.admin("select walhook.backfill('w', 'public.shouts()')");
      await isIn("failed");
      expect(await errorOf()).toMatch(/^more than 160 MiB came with rows .* raises messages of that size$/);
      await system.app("insert into other values (1)");
      await eventually(() => system.received("z").length === 1);
      await shouts("return true;");
      await system.admin("select walhook.resume_backfill(1)");
      await eventually(() => system.received("w").length === 30);
      expect(states).toEqual([]);
    },
  );

  it("where something of somebody's depends on its function, which then stays", async () => {
    await system.webhook("w", "orders", "on_trash");
    await system.admin("select walhook.pause('w')");
    const states = statesOf(await system.startBridge());
    await system.admin("select walhook.backfill('w')");
    await system.look(`grant create on schema public to "${system.roles.admin}"`);
    await system.admin("create view mine as select walhook_condition.b1('{}'::jsonb)");
    await system.admin("select walhook.cancel_backfill(1)");
    await isIn("cancelled");
    expect(states).toEqual([]);
    await system.admin("drop view mine");
  });
});

it("a row is not left to a delivery that could not be made: its update does not carry what the body needs", async () => {
  await system.app("alter table orders alter big set storage external; update orders set big = repeat('x', 5000)");
  await system.webhook("w", "orders", "on_update");
  await system.admin("insert into walhook.webhook_data (webhook, fieldname) values ('w', 'big'), ('w', 'id')");
  await system.startBridge();
  const writer = await system.db.connect(system.roles.app);
  let isOver = false;
  const writing = (async () => {
    while (!isOver) await writer.query("update orders set v = v + 1 where id between 10 and 15");
  })();
  await eventually(
    async () => (await system.look("select from walhook.webhook_request_log where outcome = 'undecidable'")).length > 5,
  );
  await system.admin("select walhook.backfill('w')");
  await isIn("done");
  isOver = true;
  await writing;
  await system.settled();
  const got = new Set(system.received("w").map(({ body }) => (JSON.parse(body.toString()) as { id: number }).id));
  expect([...got].toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, n) => n + 1));
});
