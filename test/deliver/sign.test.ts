import { createHmac, createPublicKey, randomBytes, verify } from "node:crypto";
import fc from "fast-check";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import { describe, expect, it } from "vitest";
import { formatProblem, signatureHeaders } from "../../src/deliver/sign.ts";
import { decodeKey } from "../../src/deliver/signing-key.ts";
import type { SignatureFormat } from "../../src/match/webhook.ts";

const ID = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const WHPK = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const ALL: readonly SignatureFormat[] = ["standard", "frappe", "github", "stripe"];

/** Secrets oldest first, as the bridge has them. */
function headersOf(
  secrets: readonly string[],
  body: string | Buffer,
  timestampSeconds = 1_614_265_330,
  formats: readonly SignatureFormat[] = ALL,
): Record<string, string> {
  const bytes = typeof body === "string" ? Buffer.from(body, "utf8") : body;
  const keys = secrets.map((secret) => decodeKey(secret));
  return Object.fromEntries(signatureHeaders({ keys, formats, id: ID, timestampSeconds, body: bytes }));
}
const now = (): number => Math.floor(Date.now() / 1000);
const whsecOf = (key: Uint8Array): string => `whsec_${Buffer.from(key).toString("base64")}`;

describe("the headers of an attempt", () => {
  it("name the delivery and the attempt's time also without a secret", () => {
    expect(headersOf([], "{}")).toEqual({ "webhook-id": ID, "webhook-timestamp": "1614265330" });
  });
  it("sign as the vectors of Standard Webhooks' reference libraries and of Svix, v1 and v1a, the newest first", () => {
    const body = '{"test": 2432232314}';
    const v1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const v1a = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    expect(headersOf([WHSEC], body)["webhook-signature"]).toBe(v1);
    expect(headersOf([WHSK], body)["webhook-signature"]).toBe(v1a);
    expect(headersOf([WHSEC, WHSK], body)["webhook-signature"]).toBe(`${v1a} ${v1}`);
  });
  it("of ed25519 are what node:crypto verifies with the public key, for any body", () => {
    const x = Buffer.from(WHPK.slice(5), "base64").toString("base64url");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5_000 }), (bytes) => {
        const body = Buffer.from(bytes);
        const signature = headersOf([WHSK], body)["webhook-signature"]!.slice("v1a,".length);
        const signed = Buffer.concat([Buffer.from(`${ID}.1614265330.`), body]);
        expect(verify(null, signed, key, Buffer.from(signature, "base64"))).toBe(true);
      }),
    );
  });
  it("sign for Frappe, GitHub and Stripe with the secret's text, prefix included", () => {
    for (const secret of ["correct horse", "gehéim", WHSEC]) {
      const body = '{"name": "SO-1", "café": true}';
      const hmac = (data: string) => createHmac("sha256", Buffer.from(secret, "utf8")).update(data, "utf8");
      const headers = headersOf([secret], body);
      expect(headers["X-Frappe-Webhook-Signature"]).toBe(hmac(body).digest("base64"));
      expect(headers["X-Hub-Signature-256"]).toBe(`sha256=${hmac(body).digest("hex")}`);
      expect(headers["Stripe-Signature"]).toBe(`t=1614265330,v1=${hmac(`1614265330.${body}`).digest("hex")}`);
    }
  });
  it("are those that were asked for", () => {
    expect(Object.keys(headersOf(["s"], "{}", 1, ["github", "stripe"]))).toEqual([
      "webhook-id",
      "webhook-timestamp",
      "X-Hub-Signature-256",
      "Stripe-Signature",
    ]);
    expect(Object.keys(headersOf([WHSK], "{}", 1, ["standard", "frappe"]))).not.toContain("X-Frappe-Webhook-Signature");
  });
  it("are accepted by the libraries of receivers, for any whsec_ secret and body, whichever of two they know", () => {
    const key = fc.uint8Array({ minLength: 24, maxLength: 64 });
    fc.assert(
      fc.property(key, key, fc.json(), (former, latter, body) => {
        const secrets = [whsecOf(former), whsecOf(latter)];
        const headers = headersOf([...secrets, WHSK], body, now());
        for (const secret of secrets) {
          expect(new StandardWebhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
          expect(new SvixWebhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
        }
      }),
    );
  });
  it("are accepted for any other text by receivers that give the library its bytes as they are", () => {
    const secrets = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !/^wh(?:sec|sk)_/.test(text));
    fc.assert(
      fc.property(secrets, fc.json(), (secret, body) => {
        const headers = headersOf([secret], body, now());
        const verifier = new StandardWebhook(Buffer.from(secret, "utf8"), { format: "raw" });
        expect(verifier.verify(body, headers)).toEqual(JSON.parse(body));
      }),
    );
  });
  it("that hold one signature only are made with the oldest secret, Stripe's with each", () => {
    const headers = headersOf([WHSK, "former", "latter"], "{}");
    const former = headersOf(["former"], "{}");
    const latter = headersOf(["latter"], "{}");
    expect(headers["X-Hub-Signature-256"]).toBe(former["X-Hub-Signature-256"]);
    expect(headers["X-Frappe-Webhook-Signature"]).toBe(former["X-Frappe-Webhook-Signature"]);
    const v1Of = (one: Record<string, string>): string => one["Stripe-Signature"]!.split(",")[1]!;
    expect(headers["Stripe-Signature"]).toBe(`t=1614265330,${v1Of(latter)},${v1Of(former)}`);
  });
  it("are refused by the libraries for another body, id or secret", () => {
    const secret = whsecOf(randomBytes(32));
    const headers = headersOf([secret], "{}", now());
    const verifier = new StandardWebhook(secret);
    const noMatch = "No matching signature found";
    expect(() => verifier.verify("{ }", headers)).toThrow(noMatch);
    expect(() => verifier.verify("{}", { ...headers, "webhook-id": "msg_other" })).toThrow(noMatch);
    expect(() => new StandardWebhook(whsecOf(randomBytes(32))).verify("{}", headers)).toThrow(noMatch);
  });
  it("sign an empty body, and bytes that are no text", () => {
    const body = Buffer.from([0xff, 0x00, 0x80]);
    const signed = Buffer.concat([Buffer.from(`${ID}.1614265330.`), body]);
    const expected = createHmac("sha256", "a secret").update(signed).digest("base64");
    expect(headersOf(["a secret"], body)["webhook-signature"]).toBe(`v1,${expected}`);
    expect(headersOf(["a secret"], "")["webhook-signature"]).toMatch(/^v1,[A-Za-z0-9+/]{43}=$/);
  });
});

describe("formats", () => {
  it("that need a symmetric secret are a problem without one; Frappe's only where it stands alone", () => {
    const keys = [decodeKey(WHSK)];
    expect(formatProblem(keys, ["standard", "frappe"])).toBeNull();
    expect(formatProblem(keys, ["frappe"])).toMatch(/frappe, which needs a symmetric secret/);
    expect(formatProblem(keys, ["standard", "github", "stripe"])).toMatch(/github, stripe, which needs/);
    expect(formatProblem([...keys, decodeKey("s")], ALL)).toBeNull();
  });
});
