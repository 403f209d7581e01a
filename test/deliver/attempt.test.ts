import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attempt } from "../../src/deliver/attempt.ts";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import { KeyRing } from "../../src/deliver/key-ring.ts";
import { toRecord } from "../../src/deliver/to-record.ts";
import { UndiciTransport } from "../../src/deliver/undici-transport.ts";
import type { Webhook } from "../../src/match/webhook.ts";
import type { Delivery, FrozenRequest } from "../../src/render/delivery.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";

let receiver: Receiver;
const transport = new UndiciTransport({
  guard: new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES }),
});
const means = { transport, keys: new KeyRing({ env: {}, folder: "/nowhere" }) };
const secretOf = (text: string): Webhook["secrets"] => [{ text, kind: "symmetric", expiresAtMs: null, id: "7" }];
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(async () => {
  await transport.close();
  await receiver.close();
});

const delivery: Delivery = {
  id: "msg_1",
  webhookId: 1,
  webhookName: "w",
  doctype: "orders",
  docname: "1",
  oldDocname: null,
  docevent: "on_update",
  source: "live",
  position: { commitLsn: 1n, changeLsn: 1n, index: 0 },
  xid: 1,
  commitTimeUs: 0n,
  isOrdered: true,
};
const frozen: FrozenRequest = {
  method: "POST",
  url: null,
  contentType: "application/json",
  headers: [["X-Rendered", "from the row"]],
  body: Buffer.from("{}"),
};
const webhook = (over: Partial<Webhook>): Webhook => ({
  id: 1,
  name: "w",
  doctypeOid: 1,
  events: ["on_update"],
  enabled: true,
  condition: null,
  requestUrl: receiver.url,
  isDynamicUrl: false,
  method: "POST",
  structure: "JSON",
  payloadFormat: "plain",
  cloudeventsSource: "",
  handshakeOrigin: null,
  template: null,
  data: [],
  headers: [],
  timeoutMs: 2_000,
  retryScheduleMs: null,
  isOrdered: true,
  onExhausted: "continue",
  batchSize: 1,
  batchWindowMs: 0,
  rateLimit: null,
  disableAfterMs: null,
  isPaused: false,
  route: { proxy: null, tlsProfile: null, tlsMinVersion: "TLSv1.2" },
  kept: { requestBytes: null, responseBytes: null },
  logsDecisions: false,
  secrets: [],
  signatureFormats: ["standard", "frappe"],
  ...over,
});

const parcel = { id: delivery.id, tickets: [], request: frozen };

describe("an attempt", () => {
  it("takes URL, static headers and secret from the configuration, rendered headers and bytes from the delivery", async () => {
    const configured = webhook({
      headers: [{ key: "X-Static", value: "s" }],
      secrets: secretOf("text"),
      requestUrl: `${receiver.url}/x`,
    });
    await attempt(parcel, configured, means);
    expect(receiver.requests.at(-1)).toMatchObject({
      path: "/x",
      body: frozen.body,
      headers: { "x-static": "s", "x-rendered": "from the row", "webhook-id": "msg_1" },
    });
    expect(receiver.requests.at(-1)?.headers["webhook-signature"]).toMatch(/^v1,/);
  });

  it("lets no configured header replace those that say who signed what", async () => {
    const headers = [
      { key: "Webhook-Id", value: "forged" },
      { key: "User-Agent", value: "mine" },
      { key: "x-hub-signature-256", value: "forged" },
    ];
    const signing = { secrets: secretOf("text"), signatureFormats: ["github"] as const };
    await attempt(parcel, webhook({ headers, ...signing }), means);
    expect(receiver.requests.at(-1)?.headers).toMatchObject({
      "webhook-id": "msg_1",
      "user-agent": "mine",
      "x-hub-signature-256": expect.stringMatching(/^sha256=[0-9a-f]{64}$/),
    });
  });

  it("sends credentials of the URL as a header, and neither they, a header's value nor a signature reach the log", async () => {
    const requestUrl = receiver.url.replace("http://", "http://user:p%40ss@");
    const headers = [{ key: "Authorization-Token", value: "top-secret" }];
    const made = await attempt(parcel, webhook({ requestUrl, headers, secrets: secretOf("signing-secret") }), means);
    const sent = receiver.requests.at(-1)?.headers ?? {};
    expect(sent["authorization"]).toBe(`Basic ${Buffer.from("user:p@ss").toString("base64")}`);
    const record = toRecord(made, { delivery, attempts: 1 }, "delivered");
    const logged = JSON.stringify({ ...record, delivery: null });
    for (const secret of [
      "p@ss",
      "p%40ss",
      "top-secret",
      "signing-secret",
      "from the row",
      sent["webhook-signature"]!,
    ]) {
      expect(logged).not.toContain(secret);
    }
    expect(record.requestHeaders).toMatchObject({ "webhook-id": "msg_1", "Authorization-Token": "[redacted]" });
  });

  it("says of a redirect where it pointed to", async () => {
    receiver.answer({ status: 301, headers: { location: "https://elsewhere.example/" } });
    const record = toRecord(await attempt(parcel, webhook({}), means), { delivery, attempts: 1 }, "retry");
    expect(record.error).toContain("HTTP 301 to https://elsewhere.example/");
    expect(record.errorClass).toBe("http_status");
  });
});
