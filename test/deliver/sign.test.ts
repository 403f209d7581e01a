import { createHmac, randomBytes } from "node:crypto";
import fc from "fast-check";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import { describe, expect, it } from "vitest";
import { secretProblem, signatureHeaders } from "../../src/deliver/sign.ts";

const headersOf = (
  secret: string | null,
  body: string | Buffer,
  timestampSeconds = 1_614_265_330,
): Record<string, string> =>
  Object.fromEntries(
    signatureHeaders({
      secret,
      id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
      timestampSeconds,
      body: typeof body === "string" ? Buffer.from(body, "utf8") : body,
    }),
  );
const now = (): number => Math.floor(Date.now() / 1000);

describe("the headers of an attempt", () => {
  it("name the delivery and the attempt's time also without a secret", () => {
    expect(headersOf(null, "{}")).toEqual({
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
    });
  });
  it("sign as the vector of Standard Webhooks' reference libraries", () => {
    const headers = headersOf("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}');
    expect(headers["webhook-signature"]).toBe("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  });
  it("sign as Frappe does: base64 of HMAC-SHA256 of the body, keyed with the secret's text, prefix included", () => {
    for (const secret of ["correct horse", "gehéim", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]) {
      const body = '{"name": "SO-1", "café": true}';
      const expected = createHmac("sha256", Buffer.from(secret, "utf8"))
        .update(Buffer.from(body, "utf8"))
        .digest("base64");
      expect(headersOf(secret, body)["X-Frappe-Webhook-Signature"]).toBe(expected);
    }
  });
  it("are accepted by the libraries of receivers, for any whsec_ secret and body", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24, maxLength: 64 }), fc.json(), (key, body) => {
        const secret = `whsec_${Buffer.from(key).toString("base64")}`;
        const headers = headersOf(secret, body, now());
        expect(new StandardWebhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
        expect(new SvixWebhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
      }),
    );
  });
  it("are accepted for any other text by receivers that give the library its bytes as they are", () => {
    const secrets = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !text.startsWith("whsec_"));
    fc.assert(
      fc.property(secrets, fc.json(), (secret, body) => {
        const headers = headersOf(secret, body, now());
        const verifier = new StandardWebhook(Buffer.from(secret, "utf8"), { format: "raw" });
        expect(verifier.verify(body, headers)).toEqual(JSON.parse(body));
      }),
    );
  });
  it("are refused by the libraries for another body, id or secret", () => {
    const secret = `whsec_${randomBytes(32).toString("base64")}`;
    const headers = headersOf(secret, "{}", now());
    const verifier = new StandardWebhook(secret);
    const noMatch = "No matching signature found";
    expect(() => verifier.verify("{ }", headers)).toThrow(noMatch);
    expect(() => verifier.verify("{}", { ...headers, "webhook-id": "msg_other" })).toThrow(noMatch);
    const other = new StandardWebhook(`whsec_${randomBytes(32).toString("base64")}`);
    expect(() => other.verify("{}", headers)).toThrow(noMatch);
  });
  it("sign an empty body, and bytes that are no text", () => {
    const secret = "a secret";
    const body = Buffer.from([0xff, 0x00, 0x80]);
    const signed = Buffer.concat([Buffer.from("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330."), body]);
    const expected = createHmac("sha256", "a secret").update(signed).digest("base64");
    expect(headersOf(secret, body)["webhook-signature"]).toBe(`v1,${expected}`);
    expect(headersOf(secret, "")["webhook-signature"]).toMatch(/^v1,[A-Za-z0-9+/]{43}=$/);
  });
});

describe("a secret", () => {
  it("can be any text that is not empty", () => {
    for (const secret of ["x", "WHSEC_x", "my whsec_ secret", "whsec_QUJD", "whsec_QUJDRA==", "whsec_QUJDRA"]) {
      expect(secretProblem(secret)).toBeNull();
    }
    expect(secretProblem("")).toBe("the webhook's secret is empty");
  });
  it("must be base64 where it begins with whsec_, as every receiver's library reads it", () => {
    for (const secret of ["whsec_", "whsec_not base64!", "whsec_QUJD-_==", "whsec_A", "whsec_QUJDRA="]) {
      expect(secretProblem(secret)).not.toBeNull();
      expect(() => headersOf(secret, "{}")).toThrow(SyntaxError);
    }
  });
});
