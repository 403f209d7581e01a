import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { Answer, ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("handshake");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const ORIGIN = "shop.example.com";
const consent: Answer = { headers: { "webhook-allowed-origin": ORIGIN, "webhook-allowed-rate": "*" } };
const asked = (): ReceivedRequest[] => system.receiver.requests.filter(({ method }) => method === "OPTIONS");
const sent = (): ReceivedRequest[] => system.receiver.requests.filter(({ method }) => method !== "OPTIONS");
const answer = (options: Answer): void => system.receiver.answer(({ method }) => (method === "OPTIONS" ? options : {}));
const state = async (): Promise<unknown> => {
  const [row] = await system.look("select state, last_error from walhook.webhook_state");
  return row;
};
const queued = async (): Promise<number> => (await system.look("select from walhook.webhook_queue")).length;
const webhook = (more: Readonly<Record<string, unknown>> = {}): Promise<void> =>
  system.webhook("w", "orders", "after_insert", { handshake: true, handshake_origin: ORIGIN, ...more });

describe("a webhook with handshake", () => {
  it("asks by OPTIONS before anything is sent, once, and says in each delivery who sends", async () => {
    answer(consent);
    await webhook({ rate_limit: 7.5, payload_format: "cloudevents-structured", enabled: false });
    await system.admin(
      "insert into walhook.webhook_header (webhook, key, value) values ('w', 'Authorization', 'Bearer t')",
    );
    await system.admin("update walhook.webhook set enabled = true");
    await system.startBridge();
    await system.app("insert into orders select n from generate_series(1, 3) n");
    await system.settled();
    expect(system.receiver.requests.map(({ method }) => method)).toEqual(["OPTIONS", "POST", "POST", "POST"]);
    const [question] = asked();
    expect(question).toMatchObject({ path: "/w", body: Buffer.alloc(0) });
    expect(question!.headers).toMatchObject({
      "webhook-request-origin": ORIGIN,
      "webhook-request-rate": "450",
      authorization: "Bearer t",
    });
    expect(question!.headers).not.toHaveProperty("webhook-id");
    for (const { headers } of sent()) expect(headers["webhook-request-origin"]).toBe(ORIGIN);
  });

  it.each<[string, Answer, string]>([
    ["does not know the question", { status: 405 }, "HTTP 405"],
    ["answers every OPTIONS with 200", {}, "without WebHook-Allowed-Origin"],
    ["allows another origin", { headers: { "webhook-allowed-origin": "other.example" } }, '"other.example"'],
    ["leads elsewhere", { ...consent, status: 302 }, "HTTP 302"],
    [
      "allows no rate",
      { headers: { "webhook-allowed-origin": "*", "webhook-allowed-rate": "0" } },
      "WebHook-Allowed-Rate",
    ],
    ["does not answer", { reset: true }, "could not be asked"],
  ])("holds everything, visibly, while its receiver %s, and sends it once it consents", async (_, refusal, words) => {
    answer(refusal);
    await webhook();
    await system.startBridge();
    await system.app("insert into orders select n from generate_series(1, 5) n");
    await eventually(async () => (await queued()) === 5);
    await eventually(async () => (await state()) !== undefined);
    expect(await state()).toMatchObject({ state: "held", last_error: expect.stringContaining(words) });
    expect(await state()).toMatchObject({ last_error: expect.stringContaining("handshake = false") });
    answer({ headers: { "webhook-allowed-origin": "*" } });
    await system.settled();
    expect(sent()).toHaveLength(5);
    await eventually(async () => ((await state()) as { state: string }).state === "ok");
    const log = await system.look("select attempt, outcome from walhook.webhook_request_log");
    expect(log).toEqual(Array.from({ length: 5 }, () => ({ attempt: 1, outcome: "delivered" })));
  });

  it("asks a new URL anew, and nothing is sent there before it consents", async () => {
    system.receiver.answer(({ method, path }) => (method === "OPTIONS" && path === "/w" ? consent : {}));
    await webhook();
    await system.startBridge();
    await system.app("insert into orders values (1)");
    await eventually(() => sent().length === 1);
    await system.admin("update walhook.webhook set request_url = request_url || '/new'");
    await system.app("insert into orders values (2)");
    await eventually(async () => (await queued()) === 1 && asked().some(({ path }) => path === "/w/new"));
    expect(sent()).toHaveLength(1);
    answer(consent);
    await system.settled();
    expect(sent().map(({ path }) => path)).toEqual(["/w", "/w/new"]);
  });

  it("is asked again at once when it was changed, and not at all where handshake is taken away", async () => {
    answer({ status: 405, headers: { "retry-after": "3600" } });
    await webhook();
    await system.startBridge();
    await system.app("insert into orders values (1)");
    await eventually(async () => (await queued()) === 1 && asked().length === 1);
    await system.admin("update walhook.webhook set timeout = '4 s'");
    await eventually(() => asked().length === 2);
    await system.admin("update walhook.webhook set handshake = false");
    await system.settled();
    expect(sent()).toHaveLength(1);
    expect(asked()).toHaveLength(2);
    expect(sent()[0]!.headers).not.toHaveProperty("webhook-request-origin");
  });

  it("keeps to the rate that its receiver allows", async () => {
    answer({ headers: { "webhook-allowed-origin": ORIGIN, "webhook-allowed-rate": "300" } });
    await webhook({ rate_limit: 1_000 });
    await system.startBridge();
    await system.app("insert into orders select n from generate_series(1, 6) n");
    await system.settled();
    const times = sent().map(({ atMs }) => atMs);
    // Five a second: the sixth leaves a second after the first.
    expect(times.at(-1)! - times[0]!).toBeGreaterThan(850);
  });

  it("shows a lost right before a missing consent, and that again afterwards", async () => {
    answer({ status: 405 });
    await webhook();
    await system.startBridge();
    await system.app("insert into orders values (1)");
    const says = (words: string) => async (): Promise<boolean> => {
      const row = (await state()) as { state: string; last_error: string } | undefined;
      return row?.state === "held" && row.last_error.includes(words);
    };
    await eventually(says("has not consented"));
    await system.look(`revoke select on orders from "${system.roles.admin}"`);
    await eventually(says("may not read"));
    await system.look(`grant select on orders to "${system.roles.admin}"`);
    await eventually(says("has not consented"));
    expect(sent()).toHaveLength(0);
    answer(consent);
    await system.settled();
    expect(sent()).toHaveLength(1);
    await eventually(async () => ((await state()) as { state: string }).state === "ok");
  });

  it("is asked by the next bridge, too, which sends what waits once it consents", async () => {
    answer({});
    await webhook();
    const first = await system.startBridge();
    await system.app("insert into orders values (1)");
    await eventually(async () => (await queued()) === 1);
    await system.caughtUp();
    await first.stop();
    answer(consent);
    await system.startBridge();
    await system.settled();
    expect(sent()).toHaveLength(1);
    await eventually(async () => ((await state()) as { state: string }).state === "ok");
  });
});
