import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("address_guard");
  await system.app("create table orders (id int primary key)");
});
afterEach(() => system.drop());

const log = (webhook: string) =>
  system.look(
    "select attempt, outcome, error_class, status_code from walhook.webhook_request_log where webhook = $1 order by sent_at",
    [webhook],
  );
const stateOf = async (webhook: string) =>
  (await system.look("select state, last_error from walhook.webhook_state where name = $1", [webhook]))[0];
const until = (webhook: string, state: string) =>
  eventually(async () => (await stateOf(webhook))?.["state"] === state, { withinMs: 15_000 });

describe("a webhook to an address that is refused", () => {
  it("is tried again by its schedule, shown as blocked, and goes out when its URL was mended", async () => {
    await system.webhook("w", "orders", "after_insert", { request_url: "http://169.254.169.254/latest/meta-data" });
    await system.startBridge({ retryScheduleMs: Array.from({ length: 50 }, () => 250) });
    await system.app("insert into orders values (1)");
    await eventually(async () => (await log("w")).length >= 3, { withinMs: 15_000 });
    expect((await log("w")).slice(0, 3)).toEqual(
      [1, 2, 3].map((attempt) => ({ attempt, outcome: "blocked", error_class: "blocked_address", status_code: null })),
    );
    await until("w", "blocked");
    expect((await stateOf("w"))?.["last_error"]).toMatch(/^blocked: 169\.254\.169\.254:80 is link-local/);
    await system.admin("update walhook.webhook set request_url = $1", [`${system.receiver.url}/w`]);
    await eventually(() => system.received("w").length === 1, { withinMs: 15_000 });
    await until("w", "ok");
  });

  it("is a dead letter after its schedule, like every other", async () => {
    await system.webhook("w", "orders", "after_insert", { request_url: "http://[fe80::1]/" });
    await system.startBridge({ retryScheduleMs: [20] });
    await system.app("insert into orders values (1)");
    await system.settled();
    await eventually(async () => (await log("w")).length === 2, { withinMs: 15_000 });
    expect((await log("w")).map((row) => [row["outcome"], row["error_class"]])).toEqual([
      ["blocked", "blocked_address"],
      ["dead", "blocked_address"],
    ]);
    expect(await system.look("select is_dead from walhook.webhook_queue")).toEqual([{ is_dead: true }]);
  });

  it("goes out at the next attempt when the operator has allowed it, and is no longer shown", async () => {
    await system.webhook("w", "orders", "after_insert");
    const strict = await system.startBridge({ addressMode: "public", retryScheduleMs: [200, 200, 200, 200] });
    await system.app("insert into orders values (1)");
    await until("w", "blocked");
    await strict.stop();
    expect(system.received("w")).toEqual([]);
    await system.startBridge({ addressMode: "public", allowAddresses: `127.0.0.1:${system.receiver.port}` });
    await eventually(() => system.received("w").length === 1, { withinMs: 15_000 });
    await until("w", "ok");
  });

  it("never reaches the source database, by whatever address or name", async () => {
    const { port } = new URL(system.db.url);
    const hosts = ["127.0.0.1", "localhost", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"];
    for (const [index, host] of hosts.entries()) {
      await system.webhook(`w${index}`, "orders", "after_insert", { request_url: `http://${host}:${port}/` });
    }
    await system.startBridge({ allowAddresses: "127.0.0.0/8 ::1 localhost", retryScheduleMs: [3_600_000] });
    await system.app("insert into orders values (1)");
    await eventually(
      async () => (await system.look("select from walhook.webhook_request_log where outcome = 'blocked'")).length === 5,
      { withinMs: 15_000 },
    );
    const errors = await system.look("select distinct error from walhook.webhook_request_log");
    for (const { error } of errors) expect(error).toContain("is the source database");
  });

  it("keeps the bridge from starting where the operator's list has an entry that is none", async () => {
    await expect(system.startBridge({ denyAddresses: "10.0.0.0/8, 10.0.0.0/40" })).rejects.toMatchObject({
      code: "bad_option",
      exitCode: 2,
      message: '--deny-addresses (WALHOOK_DENY_ADDRESSES) has the entry "10.0.0.0/40"',
    });
  });
});
