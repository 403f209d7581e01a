import { createHmac, createPublicKey, verify } from "node:crypto";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
import { expect } from "vitest";
import type { RawRequest } from "./raw-receiver.ts";

/** A symmetric secret, and the ed25519 key of the specification's vector with its public half. */
export const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
export const WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const X = Buffer.from("1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "base64").toString("base64url");
const PUBLIC = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: X }, format: "jwk" });

/** Which of the two keys a request is signed with. */
export interface SignedWith {
  readonly symmetric: boolean;
  readonly ed25519: boolean;
}

/**
 * Holds every signature of a request to its bytes: by the libraries of receivers, and by node:crypto as somebody writes
 * it who knows the specifications alone. Each header that there should be is there, once.
 */
export function expectSigned({ headers, names, body }: RawRequest, { symmetric, ed25519 }: SignedWith): void {
  const of = (name: string): string => {
    expect(names.filter((other) => other === name)).toEqual([name]);
    return headers[name]!;
  };
  const [id, time] = [of("webhook-id"), of("webhook-timestamp")];
  expect(id).toMatch(/^(msg|bat)_[0-9a-z]+$/);
  expect(Math.abs(Date.now() / 1_000 - Number(time))).toBeLessThan(60);
  const signed = Buffer.concat([Buffer.from(`${id}.${time}.`), body]);
  const entries = of("webhook-signature").split(" ");
  const kinds = entries.map((entry) => entry.split(",")[0]);
  // The newest key's first.
  expect(kinds).toEqual([...(ed25519 ? ["v1a"] : []), ...(symmetric ? ["v1"] : [])]);
  const valueOf = (kind: string): string => entries.find((entry) => entry.startsWith(`${kind},`))!.split(",")[1]!;
  if (ed25519) expect(verify(null, signed, PUBLIC, Buffer.from(valueOf("v1a"), "base64"))).toBe(true);
  const others = ["x-frappe-webhook-signature", "x-hub-signature-256", "stripe-signature"] as const;
  if (!symmetric) {
    expect(names.filter((name) => (others as readonly string[]).includes(name))).toEqual([]);
    return;
  }
  const key = Buffer.from(WHSEC.slice("whsec_".length), "base64");
  expect(valueOf("v1")).toBe(createHmac("sha256", key).update(signed).digest("base64"));
  const hmac = (lead = ""): ReturnType<typeof createHmac> => createHmac("sha256", WHSEC).update(lead).update(body);
  expect(of(others[0])).toBe(hmac().digest("base64"));
  expect(of(others[1])).toBe(`sha256=${hmac().digest("hex")}`);
  expect(of(others[2])).toBe(`t=${time},v1=${hmac(`${time}.`).digest("hex")}`);
  const text = body.toString();
  expect(() => new StandardWebhook(WHSEC).verify(text, headers, { jsonParse: false })).not.toThrow();
  // This one reads the body as JSON, too.
  if (headers["content-type"]!.includes("json")) {
    expect(() => new SvixWebhook(WHSEC).verify(text, headers)).not.toThrow();
  }
}
