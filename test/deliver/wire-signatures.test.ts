import { createHmac, createPublicKey, verify } from "node:crypto";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import { attempt } from "../../src/deliver/attempt.ts";
import { KeyRing } from "../../src/deliver/key-ring.ts";
import { UndiciTransport } from "../../src/deliver/undici-transport.ts";
import { webhook as webhookOf } from "../render/changes.ts";

const WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const X = Buffer.from("1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "base64").toString("base64url");
const PUBLIC = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: X }, format: "jwk" });

/** Takes bytes off a socket without an HTTP library, so that nobody can have changed them. */
let server: Server;
let taken: Buffer[] = [];
const sockets = new Set<Socket>();
const transport = new UndiciTransport({
  guard: new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES }),
});
const means = { transport, keys: new KeyRing({ env: {}, folder: "/nowhere" }) };

beforeAll(async () => {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("data", (part) => {
      taken.push(part);
      const { headers, body } = split(Buffer.concat(taken));
      if (body !== null && body.length >= Number(headers["content-length"] ?? 0)) {
        socket.write("HTTP/1.1 204 No Content\r\n\r\n");
      }
    });
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  await transport.close();
  for (const socket of sockets) socket.destroy();
  server.close();
});

function split(bytes: Buffer): { readonly headers: Readonly<Record<string, string>>; readonly body: Buffer | null } {
  const at = bytes.indexOf("\r\n\r\n");
  if (at < 0) return { headers: {}, body: null };
  const lines = bytes.toString("latin1", 0, at).split("\r\n").slice(1);
  const pairs = lines.map((line) => [
    line.slice(0, line.indexOf(":")).toLowerCase(),
    line.slice(line.indexOf(":") + 1).trim(),
  ]);
  return { headers: Object.fromEntries(pairs) as Record<string, string>, body: bytes.subarray(at + 4) };
}

describe("the bytes on the wire", () => {
  it("are what every signature beside them was made over, for any method, content type and body", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom("POST", "PUT", "PATCH", "DELETE"),
        fc.constantFrom("application/json", "application/x-www-form-urlencoded"),
        fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !/^wh(?:sec|sk|pk)_/.test(text)),
        fc.uint8Array({ maxLength: 20_000 }),
        async (method, contentType, secret, bytes) => {
          taken = [];
          const webhook = webhookOf({
            requestUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
            secrets: [
              { text: secret, kind: "symmetric", expiresAtMs: null, id: null },
              { text: WHSK, kind: "ed25519", expiresAtMs: null, id: null },
            ],
            signatureFormats: ["standard", "frappe", "github", "stripe"],
          });
          const request = { method, url: null, contentType, headers: [], body: Buffer.from(bytes) } as const;
          await attempt({ id: "msg_1", tickets: [], request }, webhook, means);
          const { headers, body } = split(Buffer.concat(taken));
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
