import { Webhook as StandardWebhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let secret: string;
beforeEach(async () => {
  system = await startSystem("alerts");
  await system.app("create table orders (id int primary key, note text)");
  const [row] = await system.admin("select walhook.add_alert_webhook($1) as secret", [
    `${system.receiver.url}/walhook-alerts`,
  ]);
  secret = row?.["secret"] as string;
});
afterEach(() => system.drop());

const FAST = { retry_schedule: "{200 ms, 200 ms, 200 ms, 200 ms, 200 ms, 200 ms, 200 ms, 200 ms, 200 ms, 200 ms}" };
const ONE_AT_A_TIME = { concurrencyPerWebhook: 1, graceMs: 50 };
const insert = (from: number, to: number) =>
  system.app(`insert into orders select n, 'note' from generate_series(${from}, ${to}) n`);
/** The receiver of orders answers so; that of alerts takes everything. */
const orders = (status: number): void =>
  system.receiver.answer(({ path }) => ({ status: path === "/w" ? status : 200 }));
interface Alert {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Readonly<Record<string, unknown>>;
}
const alerts = (): Alert[] => system.received("walhook-alerts").map(({ body }) => JSON.parse(body.toString()) as Alert);
const types = (): string[] => alerts().map(({ type }) => type);
const health = async (name = "w") =>
  (await system.look("select health from walhook.webhook_state where name = $1", [name]))[0]?.["health"];

describe("who watches alerts is told, signed and once,", () => {
  it("when a breaker opens and when the receiver has recovered, also where the bridge was started anew in between", async () => {
    await system.webhook("w", "orders", "after_insert", FAST);
    orders(500);
    const first = await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 10);
    await eventually(() => types().length === 1);
    await first.stop();
    await system.startBridge(ONE_AT_A_TIME);
    const [before] = await system.look(
      "select count(*)::int as n from walhook.webhook_request_log where webhook = 'w'",
    );
    await eventually(async () => {
      const [now] = await system.look("select count(*)::int as n from walhook.webhook_request_log where webhook = 'w'");
      return (now?.["n"] as number) >= (before?.["n"] as number) + 5;
    });
    expect(types()).toEqual(["webhook.opened"]);
    orders(200);
    await eventually(() => types().length === 2);
    await system.settled();
    expect(types()).toEqual(["webhook.opened", "webhook.recovered"]);
    const [opened, recovered] = alerts();
    expect(opened!.data).toMatchObject({
      webhook: "w",
      state: "opened",
      previous: "ok",
      last_error: "HTTP 500",
    });
    // Those that were under way, or failed before it was written, count as well.
    expect(opened!.data["consecutive_failures"]).toBeGreaterThanOrEqual(5);
    expect(recovered!.data).toMatchObject({ webhook: "w", state: "ok", previous: "opened" });
    expect(recovered!.data["since"]).toBe(opened!.data["since"]);
    for (const { timestamp } of alerts()) expect(Math.abs(Date.now() - Date.parse(timestamp))).toBeLessThan(60_000);
    const requests: readonly ReceivedRequest[] = system.received("walhook-alerts");
    for (const { body, headers } of requests) new StandardWebhook(secret).verify(body.toString(), { ...headers });
    expect(new Set(requests.map(({ headers }) => headers["webhook-id"])).size).toBe(2);
    expect(
      await system.look("select type, webhook, state, previous, consecutive_failures > 4 as often from walhook.alert"),
    ).toEqual([
      { type: "webhook.opened", webhook: "w", state: "opened", previous: "ok", often: true },
      { type: "webhook.recovered", webhook: "w", state: "ok", previous: "opened", often: true },
    ]);
    expect(
      await system.look("select outcome from walhook.webhook_request_log where webhook = 'walhook-alerts'"),
    ).toEqual([{ outcome: "delivered" }, { outcome: "delivered" }]);
  });

  it("when a webhook is failing though its breaker stays closed", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 h}" });
    orders(404);
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 12);
    await eventually(() => types().length === 1);
    orders(200);
    await insert(13, 13);
    await eventually(() => types().length === 2);
    expect(types()).toEqual(["webhook.failing", "webhook.recovered"]);
    expect(alerts()[0]!.data["last_error"]).toBe("HTTP 404");
  });

  it("when a webhook was disabled by itself, and when somebody has enabled it again", async () => {
    await system.webhook("w", "orders", "after_insert");
    orders(410);
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 5);
    await eventually(() => types().length === 1);
    orders(200);
    await system.admin("update walhook.webhook set enabled = true where name = 'w'");
    await eventually(() => types().length === 2);
    await system.settled();
    expect(types()).toEqual(["webhook.disabled", "webhook.enabled"]);
    expect(alerts()[0]!.data["last_error"]).toMatch(/^HTTP 410.*enabled = true where id = \d+$/);
    // Who disables a webhook knows it.
    await system.admin("update walhook.webhook set enabled = false where name = 'w'");
    await system.admin("update walhook.webhook set enabled = true where name = 'w'");
    await system.caughtUp();
    expect(types()).toHaveLength(2);
  });

  it("as soon as its own receiver is back, with the ids of the first attempt; that it failed makes no alert", async () => {
    await system.webhook("w", "orders", "after_insert", FAST);
    await system.admin(
      "update walhook.webhook set retry_schedule = '{200 ms, 200 ms, 200 ms, 200 ms, 200 ms, 200 ms, 10 s}' where name = 'walhook-alerts'",
    );
    system.receiver.answer({ status: 500 });
    const first = await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 6);
    await eventually(async () => (await health("walhook-alerts")) === "opened");
    expect(await health()).toBe("opened");
    await first.stop();
    system.receiver.answer({});
    await system.startBridge(ONE_AT_A_TIME);
    await system.settled();
    await eventually(async () => (await health()) === "ok");
    await system.settled();
    const ids = system.received("walhook-alerts").map(({ headers }) => headers["webhook-id"]);
    expect(new Set(ids).size).toBe(2);
    expect(ids.length).toBeGreaterThan(5);
    expect(await system.look("select type, webhook from walhook.alert order by id")).toEqual([
      { type: "webhook.opened", webhook: "w" },
      { type: "webhook.recovered", webhook: "w" },
    ]);
  });
});

describe("a webhook on walhook.alert", () => {
  it("is one like any other: it may have a condition and a template of its own", async () => {
    await system.admin(
      `update walhook.webhook set condition = $$doc.state = 'disabled'$$, webhook_json = '{"text": "{{doc.webhook}} is {{doc.state}}"}'
        where name = 'walhook-alerts'`,
    );
    await system.webhook("w", "orders", "after_insert", FAST);
    orders(500);
    await system.startBridge(ONE_AT_A_TIME);
    await insert(1, 5);
    await eventually(async () => (await health()) === "opened");
    orders(410);
    await eventually(() => system.received("walhook-alerts").length === 1);
    expect(system.received("walhook-alerts")[0]!.body.toString()).toBe('{"text": "w is disabled"}');
  });

  it("may be made by whoever configures webhooks; the rows are the bridge's alone to write", async () => {
    await expect(
      system.admin(
        "insert into walhook.alert (type, webhook_id, webhook, state, previous, consecutive_failures) values ('webhook.opened', 1, 'w', 'opened', 'ok', 0)",
      ),
    ).rejects.toMatchObject({ code: "42501" });
    await expect(system.webhook("x", "walhook.webhook_request_log", "after_insert")).rejects.toMatchObject({
      hint: expect.stringContaining("walhook.alert may be watched") as string,
    });
  });
});
