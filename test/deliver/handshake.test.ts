import { describe, expect, it } from "vitest";
import { handshakeRequest, judgeHandshake } from "../../src/deliver/handshake.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";
import { webhook } from "../render/changes.ts";

const answered = (statusCode: number, headers: Readonly<Record<string, string>> = {}): TransportResult => ({
  kind: "response",
  statusCode,
  headers,
  body: "",
  durationMs: 1,
});
const judge = (result: TransportResult): ReturnType<typeof judgeHandshake> =>
  judgeHandshake(result, "shop.example.com", 0);
const origin = { "webhook-allowed-origin": "shop.example.com" };

describe("an answer to a handshake", () => {
  it.each<[Readonly<Record<string, string>>, number | null]>([
    [origin, null],
    [{ "webhook-allowed-origin": " SHOP.Example.com " }, null],
    [{ "webhook-allowed-origin": "*", "webhook-allowed-rate": "*" }, null],
    [{ ...origin, "webhook-allowed-rate": "120" }, 2],
    [{ ...origin, "webhook-allowed-rate": "1" }, 1 / 60],
  ])("is consent where it names the origin or all: %j", (headers, perSecond) => {
    for (const status of [200, 204]) expect(judge(answered(status, headers))).toEqual({ isGiven: true, perSecond });
  });
  it.each<[string, TransportResult, RegExp]>([
    ["says nothing", answered(200), /HTTP 200, without WebHook-Allowed-Origin/],
    ["names another origin", answered(200, { "webhook-allowed-origin": "example.com" }), /the origin "example.com"/],
    ["names several", answered(200, { "webhook-allowed-origin": "shop.example.com, a.example" }), /the origin/],
    ["is of CORS", answered(204, { "access-control-allow-origin": "*" }), /without WebHook-Allowed-Origin/],
    ["is a refusal by its status", answered(403, origin), /HTTP 403/],
    ["leads elsewhere", answered(307, { ...origin, location: "http://169.254.169.254/" }), /HTTP 307/],
    ["allows no request", answered(200, { ...origin, "webhook-allowed-rate": "0" }), /Rate is "0"/],
    ["has a rate that is none", answered(200, { ...origin, "webhook-allowed-rate": "-1" }), /Rate is "-1"/],
    ["has part of a request", answered(200, { ...origin, "webhook-allowed-rate": "0.5" }), /Rate is "0.5"/],
    [
      "did not come",
      { kind: "failure", errorClass: "timeout", message: "no complete answer within 5 ms", durationMs: 5 },
      /could not be asked: no complete answer within 5 ms/,
    ],
  ])("is none where it %s", (_, result, reason) => {
    const consent = judge(result);
    expect(consent.isGiven).toBe(false);
    expect(consent).toMatchObject({ reason: expect.stringMatching(reason), retryAfterMs: null });
  });
  it("may say when to ask again", () => {
    expect(judge(answered(429, { "retry-after": "120" }))).toMatchObject({ isGiven: false, retryAfterMs: 120_000 });
  });
});

describe("the question", () => {
  it("goes to the very URL by OPTIONS, with origin, rate and fixed headers, and with nothing of an event", () => {
    const request = handshakeRequest(
      webhook({
        requestUrl: "https://me:p%40ss@example.com/a?b=1",
        handshakeOrigin: "shop.example.com",
        rateLimit: 0.001,
        headers: [
          { key: "X-Tenant", value: "7" },
          { key: "X-Order", value: "{{doc.id}}" },
          { key: "Content-Type", value: "application/json" },
        ],
      }),
    );
    expect(request).toMatchObject({ url: "https://example.com/a?b=1", method: "OPTIONS", body: Buffer.alloc(0) });
    expect(Object.fromEntries(request.headers)).toEqual({
      "WebHook-Request-Origin": "shop.example.com",
      "WebHook-Request-Rate": "1",
      "user-agent": "walhook",
      authorization: `Basic ${btoa("me:p@ss")}`,
      "X-Tenant": "7",
    });
  });
  it("has the webhook's own authorization where it has one, and no rate where it has none", () => {
    const headers = [{ key: "Authorization", value: "Bearer t" }];
    const request = handshakeRequest(
      webhook({ requestUrl: "https://me:pass@example.com/", handshakeOrigin: "a", headers }),
    );
    expect(request.headers).toEqual([
      ["WebHook-Request-Origin", "a"],
      ["user-agent", "walhook"],
      ["Authorization", "Bearer t"],
    ]);
  });
});
