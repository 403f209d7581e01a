import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let world: WatchedDatabase;
beforeAll(async () => {
  world = await watchedDatabase("forgotten_states");
  await world.app.query("create table orders (id int primary key)");
});
afterAll(() => world.drop());

/** As the bridge writes it. */
const SAY = `insert into walhook.webhook_state (webhook_id, name, health, last_failure)
  select w.id, w.name, 'failing', 'HTTP 500' from walhook.webhook w where w.name = $1
  on conflict (webhook_id) do update set health = excluded.health`;
const WAITING = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
const states = (): Promise<readonly Record<string, unknown>[]> =>
  world.rows("select name, health from walhook.webhook_state order by name");

describe("what is said of a webhook", () => {
  it("goes with it, whoever deletes it, and leaves that of others", async () => {
    await world.webhook("goes", "orders", "after_insert");
    await world.webhook("stays", "orders", "after_insert");
    for (const name of ["goes", "stays"]) await world.db.queryAs(world.roles.bridge, SAY, [name]);
    await world.admin.query("delete from walhook.webhook where name = 'goes'");
    expect(await states()).toEqual([{ name: "stays", health: "failing" }]);
  });

  it.each(["for the first time", "once more"])("is not written %s while somebody deletes the webhook", async (time) => {
    await world.webhook("w", "orders", "after_insert");
    const bridge = await world.db.connect(world.roles.bridge);
    if (time === "once more") await bridge.query(SAY, ["w"]);
    await world.admin.query("begin; delete from walhook.webhook where name = 'w'");
    const saying = bridge.query(SAY, ["w"]);
    await eventually(async () => (await world.rows(WAITING)).length > 0);
    await world.admin.query("commit");
    await saying;
    expect(await states()).toEqual([{ name: "stays", health: "failing" }]);
  });

  it("is cleared away by the upgrade, where a webhook was deleted before", async () => {
    await world.db.query(
      `begin; set local session_replication_role = replica;
       insert into walhook.webhook_state (webhook_id, name) values (4711, 'ghost'); commit`,
    );
    await world.db.query(await readFile(new URL("../../sql/202_at_night.sql", import.meta.url), "utf8"));
    expect(await states()).toEqual([{ name: "stays", health: "failing" }]);
  });
});
