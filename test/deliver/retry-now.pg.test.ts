import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { refusal } from "../sql/watched-database.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

/** Less than the feeder of the queue sleeps at most. */
const AT_ONCE = { withinMs: 10_000 };

let system: System;
beforeEach(async () => {
  system = await startSystem("retry_now");
  await system.app("create table orders (id int primary key, note text)");
  await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{1 h, 1 h}" });
});
afterEach(() => system.drop());

const waiting = (): Promise<readonly Record<string, unknown>[]> =>
  system.look(
    "select docname, attempts, due_at > now() as is_later from walhook.webhook_queue order by queued_at, docname",
  );
const arrived = (): readonly string[] =>
  system.received("w").map(({ body }) => (JSON.parse(body.toString()) as { data: { name: string } }).data.name);
async function failOnce(...ids: readonly number[]): Promise<void> {
  system.receiver.answer({ status: 500 });
  for (const id of ids) await system.app("insert into orders values ($1)", [id]);
  await eventually(async () => {
    const rows = await waiting();
    return rows.length === ids.length && rows.every((row) => row["attempts"] === 1 && row["is_later"] === true);
  });
  system.receiver.answer({});
}

describe("walhook.retry_now", () => {
  it("sends at once what would be due in an hour, and what waits behind it, for who configures webhooks", async () => {
    await system.startBridge({ graceMs: 50 });
    await failOnce(1, 2);
    await system.app("update orders set note = 'behind' where id = 1");
    await eventually(async () => (await waiting()).length === 3);
    expect(await system.admin("select walhook.retry_now('w') as n")).toEqual([{ n: "2" }]);
    await eventually(async () => (await waiting()).length === 0, AT_ONCE);
    expect(arrived().toSorted()).toEqual(["1", "1", "1", "2", "2"]);
    expect(await system.admin("select walhook.retry_now('w') as n")).toEqual([{ n: "0" }]);
    expect(await system.look("select from walhook.repair")).toEqual([]);
  });

  it("is about one document where it is told so, however its name is spelt", async () => {
    await system.startBridge({ graceMs: 50 });
    await failOnce(1, 2);
    expect(await system.admin("select walhook.retry_now('w', docname => '02') as n")).toEqual([{ n: "1" }]);
    await eventually(async () => (await waiting()).length === 1, AT_ONCE);
    expect(await waiting()).toEqual([{ docname: "1", attempts: 1, is_later: true }]);
  });

  it("locks nothing of the queue before its commit, and does nothing where there is none", async () => {
    const bridge = await system.startBridge({ graceMs: 50 });
    await failOnce(1, 2);
    await system.admin("begin");
    expect(await system.admin("select walhook.retry_now('w') as n")).toEqual([{ n: "2" }]);
    expect(await system.look("select from walhook.webhook_queue for update skip locked")).toHaveLength(2);
    await system.admin("rollback");
    expect((await waiting()).map((row) => row["is_later"])).toEqual([true, true]);
    // Without a bridge it is there for the next one.
    await bridge.stop();
    await system.admin("select walhook.retry_now('w')");
    await system.startBridge();
    await system.settled();
  });

  it("leaves dead letters", async () => {
    await system.admin("update walhook.webhook set retry_schedule = '{}'");
    system.receiver.answer({ status: 500 });
    await system.startBridge({ graceMs: 50 });
    await system.app("insert into orders values (1)");
    await eventually(async () => (await system.look("select from walhook.dead_letter")).length === 1);
    expect(await system.admin("select walhook.retry_now('w') as n")).toEqual([{ n: "0" }]);
  });

  it("leaves a breaker open, which a pause and its end close", async () => {
    await system.startBridge({ graceMs: 50, concurrencyPerWebhook: 1 });
    system.receiver.answer({ reset: true });
    await system.app("insert into orders select generate_series(1, 6)");
    const breaker = async (): Promise<unknown> =>
      (await system.look("select breaker from walhook.webhook_state"))[0]?.["breaker"];
    await eventually(async () => (await breaker()) === "open");
    await eventually(async () => (await waiting()).filter((row) => row["attempts"] === 1).length === 5);
    system.receiver.answer({});
    const before = arrived().length;
    await system.admin("select walhook.retry_now('w')");
    await system.caughtUp();
    expect(await breaker()).toBe("open");
    expect(arrived()).toHaveLength(before);
    await system.admin("select walhook.pause('w')");
    await system.admin("select walhook.resume('w')");
    await eventually(async () => (await waiting()).length === 0, AT_ONCE);
  });

  it("is for who configures webhooks alone", async () => {
    const analyst = `analyst_${randomBytes(4).toString("hex")}`;
    await system.look(`create role ${analyst} login in role walhook_analyst`);
    for (const role of [analyst, system.roles.app]) {
      expect(await refusal(system.db.queryAs(role, "select walhook.retry_now('w')"))).toMatchObject({ code: "42501" });
    }
    expect(await refusal(system.admin("select walhook.retry_now('x')"))).toMatchObject({
      message: 'there is no webhook "x"',
    });
  });
});
