import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let world: WatchedDatabase;
beforeAll(async () => {
  world = await watchedDatabase("sql_retries");
  await world.app.query("create table orders (id int primary key)");
  await world.webhook("w", "orders", "after_insert");
});
afterAll(() => world.drop());

const set = (assignment: string): Promise<unknown> => world.admin.query(`update walhook.webhook set ${assignment}`);

describe("retry_schedule", () => {
  it("is kept in milliseconds beside it, whatever units it was written in", async () => {
    await set("retry_schedule = '{250 ms, 5 s, 1.5 min, 2 h, 1 day}'");
    expect(await world.rows("select retry_schedule_ms from walhook.webhook")).toEqual([
      { retry_schedule_ms: ["250", "5000", "90000", "7200000", "86400000"] },
    ]);
    await set("retry_schedule = '{}', retry_schedule_ms = '{7}'");
    expect(await world.rows("select retry_schedule_ms from walhook.webhook")).toEqual([{ retry_schedule_ms: [] }]);
    await set("retry_schedule = null");
    expect(await world.rows("select retry_schedule_ms from walhook.webhook")).toEqual([{ retry_schedule_ms: null }]);
  });

  it.each([
    ["'{5 s, -1 s}'", 'webhook "w": retry_schedule has the delay -00:00:01'],
    ["'{5 s, null}'", 'webhook "w": retry_schedule has the delay NULL'],
    ["'{31 days}'", 'webhook "w": retry_schedule has the delay 31 days'],
    ["'{{1 s}, {2 s}}'", 'webhook "w": retry_schedule has 2 delays in 2 dimensions'],
    [
      "array(select interval '1 s' from generate_series(1, 101))",
      'webhook "w": retry_schedule has 101 delays in 1 dimensions',
    ],
  ])("is refused as %s, with what to write instead", async (schedule, message) => {
    expect(await refusal(set(`retry_schedule = ${schedule}`))).toMatchObject({
      message,
      hint: expect.stringContaining("{5 s, 1 min, 1 h}"),
    });
  });

  it("changes the author, as all that decides about delivery", async () => {
    await world.db.query(`create role "${world.roles.admin}_2" login in role walhook_admin`);
    await world.app.query(`grant select on orders to "${world.roles.admin}_2"`);
    const other = await world.db.connect(`${world.roles.admin}_2`);
    await other.query("update walhook.webhook set retry_schedule = '{1 s}'");
    expect(await world.rows("select author::text from walhook.webhook")).toEqual([
      { author: `${world.roles.admin}_2` },
    ]);
    await set("retry_schedule = null");
    await world.app.query(`revoke select on orders from "${world.roles.admin}_2"`);
    await other.end();
    await world.db.query(`drop role "${world.roles.admin}_2"`);
  });
});

describe("on_exhausted", () => {
  it("is continue or hold", async () => {
    expect(await refusal(set("on_exhausted = 'stop'"))).toMatchObject({
      message: 'webhook "w": on_exhausted is "stop"',
      hint: "Use continue or hold.",
    });
  });
  it("cannot hold what is not ordered", async () => {
    expect(await refusal(set("on_exhausted = 'hold', ordering = false"))).toMatchObject({
      message: 'webhook "w": on_exhausted = hold needs ordering',
    });
  });
});

describe("dead letters", () => {
  it("are replayed by who configures, not by who only reads", async () => {
    expect((await world.admin.query("select walhook.replay_dead_letters('w')")).rowCount).toBe(1);
    await expect(world.app.query("select walhook.replay_dead_letters('w')")).rejects.toMatchObject({ code: "42501" });
  });
  it("of a webhook that does not exist are an error that says where names stand", async () => {
    expect(await refusal(world.admin.query("select walhook.cancel_dead_letters('v')"))).toMatchObject({
      message: 'there is no webhook "v"',
      hint: "Names stand in walhook.webhook; dead letters in walhook.dead_letter.",
    });
  });
  it("leave no request behind where there are none", async () => {
    await world.admin.query("select walhook.replay_dead_letters('w')");
    expect(await world.rows("select from walhook.repair")).toEqual([]);
  });
  it("a request names who really asked", async () => {
    await world.admin.query(
      "insert into walhook.repair (kind, webhook_id, requested_by) values ('cancel', 1, 'postgres')",
    );
    expect(await world.rows("select requested_by::text from walhook.repair")).toEqual([
      { requested_by: world.roles.admin },
    ]);
  });
});

describe("disabling a webhook for 410", () => {
  it("is all that the bridge may change of it", async () => {
    const bridge = await world.db.connect(world.roles.bridge);
    await expect(bridge.query("update walhook.webhook set enabled = false")).rejects.toMatchObject({ code: "42501" });
    await bridge.query("select walhook.disable_webhook(1, 'HTTP 410')");
    expect(await world.rows("select enabled, author::text from walhook.webhook")).toEqual([
      { enabled: false, author: world.roles.admin },
    ]);
    expect(await world.rows("select state, last_error from walhook.webhook_state")).toEqual([
      { state: "disabled", last_error: "HTTP 410" },
    ]);
    await bridge.end();
  });
  it("is forgotten when it is enabled again", async () => {
    await set("enabled = true");
    expect(await world.rows("select state from walhook.webhook_state")).toEqual([{ state: "ok" }]);
  });
});
