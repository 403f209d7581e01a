import { createHmac, createPrivateKey, sign as signEd25519 } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseVerificationKeys } from "../../../src/cli/verification/verification-key.ts";
import { verifySignatures } from "../../../src/cli/verification/verify-signatures.ts";

// The vectors of Standard Webhooks' reference libraries and of Svix.
const AT = 1_614_265_330;
const BODY = '{"test": 2432232314}';
const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const WHPK = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const V1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const V1A = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
const ID = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const OTHER = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const STANDARD = { "webhook-id": ID, "webhook-timestamp": String(AT), "webhook-signature": V1 };

interface Given {
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body?: string | Buffer;
  readonly secret?: string;
  readonly at?: number;
}

/** What is said of each header: `ok, by …` or the reason of a refusal. */
function findings({ headers = {}, body = BODY, secret = WHSEC, at = AT }: Given): Record<string, string> {
  const request = { headers, body: Buffer.from(body) };
  const terms = { keys: parseVerificationKeys(secret), nowSeconds: at, toleranceSeconds: 300 };
  const found = [...verifySignatures(request, terms)];
  return Object.fromEntries(found.map(([header, { ok, reason }]) => [header, `${ok ? "ok, " : ""}${reason}`]));
}
const standard = (given: Given & { readonly over?: Readonly<Record<string, string | undefined>> } = {}): string =>
  findings({ ...given, headers: { ...STANDARD, ...given.over } })["webhook-signature"] ?? "none";
const hmac = (key: string | Buffer, data: string, encoding: "hex" | "base64"): string =>
  createHmac("sha256", key).update(data).digest(encoding);

describe("webhook-signature", () => {
  it("is accepted where it is a vector of the reference libraries", () => {
    expect(standard()).toBe("ok, v1 by the secret");
    expect(standard({ secret: WHPK, over: { "webhook-signature": V1A } })).toBe("ok, v1a by the secret");
    expect(standard({ secret: WHSK, over: { "webhook-signature": V1A } })).toBe("ok, v1a by the secret");
  });
  it("is accepted where one of several entries is made by one of several secrets; unknown versions are passed over", () => {
    const wrong = `v1,${hmac("x", "y", "base64")}`;
    for (const list of [`${wrong} ${V1}`, `v2,abc ${V1}`, `${V1} ${V1A}`, `v1,abc ${V1}`]) {
      expect(standard({ over: { "webhook-signature": list } }), list).toMatch(/^ok/);
    }
    expect(standard({ secret: `${OTHER} ${WHSEC}` })).toBe("ok, v1 by secret 2");
    expect(standard({ secret: `${WHPK} ${OTHER}`, over: { "webhook-signature": `${wrong} ${V1A}` } })).toBe(
      "ok, v1a by secret 1",
    );
  });
  it("is accepted for an empty body, and for a secret of any other text", () => {
    const signature = `v1,${hmac("any text", `${ID}.${AT}.`, "base64")}`;
    expect(standard({ secret: "any text", body: "", over: { "webhook-signature": signature } })).toMatch(/^ok/);
  });
  it("of ed25519 is verified with the public key alone", () => {
    const seed = Buffer.from(WHSK.slice(5), "base64").subarray(0, 32);
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const signature = `v1a,${signEd25519(null, Buffer.from(`${ID}.${AT}.{}`), key).toString("base64")}`;
    expect(standard({ secret: WHPK, body: "{}", over: { "webhook-signature": signature } })).toMatch(/^ok/);
    expect(standard({ secret: WHPK, body: "{ }", over: { "webhook-signature": signature } })).toMatch(/another/);
  });

  it.each<[string, Given & { readonly over?: Record<string, string | undefined> }, RegExp]>([
    ["no id", { over: { "webhook-id": undefined } }, /webhook-id is missing/],
    ["no timestamp", { over: { "webhook-timestamp": undefined } }, /webhook-timestamp is missing/],
    ["no signature", { over: { "webhook-signature": "" } }, /webhook-signature is missing/],
    ["a timestamp that is no number", { over: { "webhook-timestamp": "now" } }, /not a number of seconds/],
    ["a timestamp with a fraction", { over: { "webhook-timestamp": `${AT}.5` } }, /not a number of seconds/],
    ["a timestamp 301 s old", { at: AT + 301 }, /301 s old, more than the 300 s/],
    ["a timestamp 301 s ahead", { at: AT - 301 }, /301 s ahead, more than the 300 s/],
    ["no comma", { over: { "webhook-signature": V1.replace(",", "") } }, /is not <version>,<signature>/],
    ["nothing but another version", { over: { "webhook-signature": V1.replace("v1", "v2") } }, /"v2" is not known/],
    ["a signature that is cut off", { over: { "webhook-signature": V1.slice(0, -5) } }, /not base64 of 32 bytes/],
    ["url-safe base64", { over: { "webhook-signature": V1.replaceAll("+", "-") } }, /not base64 of 32 bytes/],
    ["a wrong signature", { over: { "webhook-signature": V1.replace("g0", "g1") } }, /another key/],
    ["another secret", { secret: OTHER }, /another key/],
    ["another id", { over: { "webhook-id": "msg_other" } }, /another id/],
    ["another body", { body: "{}" }, /another key, or over another id, timestamp or body/],
    ["a v1 for who has a public key", { secret: WHPK }, /v1 needs a symmetric secret/],
    ["a v1a for who has a secret", { over: { "webhook-signature": V1A } }, /v1a needs a public key/],
    ["a line end added", { body: `${BODY}\n` }, /a line end was added to the body/],
    [
      "an encoded key taken as text",
      { over: { "webhook-signature": `v1,${hmac(WHSEC, `${ID}.${AT}.${BODY}`, "base64")}` } },
      /text instead of its decoded bytes/,
    ],
    [
      "a signature over the body alone",
      { over: { "webhook-signature": `v1,${hmac(Buffer.from(WHSEC.slice(6), "base64"), BODY, "base64")}` } },
      /body alone/,
    ],
  ])("is refused with %s", (_, given, reason) => {
    expect(standard(given)).not.toMatch(/^ok/);
    expect(standard(given)).toMatch(reason);
  });
  it("is refused, and it is said so, where the body was parsed and written anew", () => {
    const compact = '{"a":1}';
    const signature = `v1,${hmac("s", `${ID}.${AT}.${compact}`, "base64")}`;
    const said = standard({ secret: "s", body: '{ "a": 1 }', over: { "webhook-signature": signature } });
    expect(said).toContain("parsed and written anew");
  });
  it("is accepted up to 300 s off, both ways", () => {
    expect([standard({ at: AT + 300 }), standard({ at: AT - 300 })]).toEqual(Array(2).fill("ok, v1 by the secret"));
  });
});

describe("a secret", () => {
  it.each(["", "whsec_", "whsec_!", "whpk_", "whsk_AAAA"])("%j is refused", (secret) => {
    expect(() => parseVerificationKeys(secret)).toThrow(SyntaxError);
  });
});

describe("the other forms", () => {
  const frappe = "x-frappe-webhook-signature";
  const github = "x-hub-signature-256";
  const stripe = "stripe-signature";
  const right = {
    [frappe]: hmac(WHSEC, BODY, "base64"),
    [github]: `sha256=${hmac(WHSEC, BODY, "hex")}`,
    [stripe]: `t=${AT},v1=${"0".repeat(64)},v1=${hmac(WHSEC, `${AT}.${BODY}`, "hex")},v0=abc`,
  };
  it("are each accepted by the secret's text, prefix included", () => {
    expect(findings({ headers: right })).toEqual({
      [frappe]: "ok, by the secret",
      [github]: "ok, by the secret",
      [stripe]: "ok, v1 by the secret",
    });
  });
  it("are each refused for another secret, another body and without a symmetric secret", () => {
    for (const given of [{ secret: OTHER }, { body: "{}" }, { secret: WHPK }]) {
      expect(Object.values(findings({ headers: right, ...given })).filter((said) => said.startsWith("ok"))).toEqual([]);
    }
  });
  it.each<[string, string, RegExp, number?]>([
    [frappe, "abc", /not base64 of 32 bytes/],
    [frappe, hmac(Buffer.from(WHSEC.slice(6), "base64"), BODY, "base64"), /decoded bytes instead of its text/],
    [github, hmac(WHSEC, BODY, "hex"), /not sha256= and hex of 32 bytes/],
    [github, `sha1=${hmac(WHSEC, BODY, "hex")}`, /not sha256=/],
    [github, `sha256=${hmac(WHSEC, BODY, "hex").toUpperCase()}`, /not sha256= and hex/],
    [github, `sha256=${hmac(WHSEC, BODY.slice(0, -1), "hex")}`, /another body/],
    [stripe, `v1=${hmac(WHSEC, `${AT}.${BODY}`, "hex")}`, /no t=/],
    [stripe, `t=${AT},t=${AT},v1=${hmac(WHSEC, `${AT}.${BODY}`, "hex")}`, /no t=<seconds>, or several/],
    [stripe, `t=${AT}`, /no v1=/],
    [stripe, `t=${AT},v0=${hmac(WHSEC, `${AT}.${BODY}`, "hex")}`, /no v1=/],
    [stripe, `t=${AT},v1=${hmac(WHSEC, `${AT}.${BODY}`, "hex")}`, /301 s old/, AT + 301],
    [stripe, "", /no t=/],
  ])("%s: %s is refused", (header, value, reason, at = AT) => {
    expect(findings({ headers: { [header]: value }, at })[header]).toMatch(reason);
  });
});
