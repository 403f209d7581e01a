import { createHmac, createPublicKey, verify } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import { attempt } from "../../src/deliver/attempt.ts";
import { KeyRing } from "../../src/deliver/key-ring.ts";
import { UndiciTransport } from "../../src/deliver/undici-transport.ts";
import { webhook as webhookOf } from "../render/changes.ts";
import { startRawReceiver, type RawReceiver } from "../support/raw-receiver.ts";
import { WHSK } from "../support/signed-requests.ts";

const X = Buffer.from("1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "base64").toString("base64url");
const PUBLIC = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: X }, format: "jwk" });

let receiver: RawReceiver;
const transport = new UndiciTransport({
  guard: new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES }),
});
const means = { transport, keys: new KeyRing({ env: {}, folder: "/nowhere" }) };

beforeAll(async () => {
  receiver = await startRawReceiver();
});
afterAll(async () => {
  await transport.close();
  await receiver[Symbol.asyncDispose]();
});

describe("the bytes on the wire", () => {
  it("are what every signature beside them was made over, for any method, content type and body", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("POST", "PUT", "PATCH", "DELETE"),
        fc.constantFrom("application/json", "application/x-www-form-urlencoded"),
        fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !/^wh(?:sec|sk|pk)_/.test(text)),
        fc.uint8Array({ maxLength: 20_000 }),
        async (method, contentType, secret, bytes) => {
          const webhook = webhookOf({
            requestUrl: `http://127.0.0.1:${receiver.port}/hook`,
            secrets: [
              { text: secret, kind: "symmetric", expiresAtMs: null, id: null },
              { text: WHSK, kind: "ed25519", expiresAtMs: null, id: null },
            ],
            signatureFormats: ["standard", "frappe", "github", "stripe"],
          });
          const request = { method, url: null, contentType, headers: [], body: Buffer.from(bytes) } as const;
          await attempt({ id: "msg_1", tickets: [], request }, webhook, means);
          const { headers, body } = receiver.requests.at(-1)!;
          expect(body).toEqual(Buffer.from(bytes));
          const hmac = (lead: string) => createHmac("sha256", secret).update(lead).update(bytes);
          const time = headers["webhook-timestamp"]!;
          const [v1a, v1] = headers["webhook-signature"]!.split(" ");
          const signed = Buffer.concat([Buffer.from(`msg_1.${time}.`), bytes]);
          expect(v1).toBe(`v1,${hmac(`msg_1.${time}.`).digest("base64")}`);
          expect(verify(null, signed, PUBLIC, Buffer.from(v1a!.slice("v1a,".length), "base64"))).toBe(true);
          expect(headers["x-frappe-webhook-signature"]).toBe(hmac("").digest("base64"));
          expect(headers["x-hub-signature-256"]).toBe(`sha256=${hmac("").digest("hex")}`);
          expect(headers["stripe-signature"]).toBe(`t=${time},v1=${hmac(`${time}.`).digest("hex")}`);
        },
      ),
    );
  });
});
