import { createPublicKey, verify, type JsonWebKey } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "../../src/cli/main.ts";
import { signatureHeaders } from "../../src/deliver/sign.ts";
import { decodeKey } from "../../src/deliver/signing-key.ts";
import { watchedDatabase, type WatchedDatabase } from "../sql/watched-database.ts";

let watched: WatchedDatabase;
beforeAll(async () => {
  watched = await watchedDatabase("jwks");
  await watched.app.query("create table orders (id int primary key)");
});
afterAll(() => watched.drop());

async function walhook(...args: readonly string[]) {
  let out = "";
  let err = "";
  const env = { DATABASE_URL: watched.db.urlAs(watched.roles.admin) };
  const code = await main(args, env, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err };
}
async function keysOf(...args: readonly string[]): Promise<readonly JsonWebKey[]> {
  const { out } = await walhook("keys", "jwks", ...args);
  return (JSON.parse(out) as { keys: JsonWebKey[] }).keys;
}
async function newPair(): Promise<readonly [whsk: string, whpk: string]> {
  const [whsk = "", whpk = ""] = (await walhook("keys", "generate", "--kind", "ed25519")).out.split("\n");
  return [whsk, whpk];
}

describe("walhook keys jwks", () => {
  it("prints the public keys that verify what webhooks sign now, also those under a grace, and nothing private", async () => {
    expect(await keysOf()).toEqual([]);
    const [former, latter] = [await newPair(), await newPair()];
    await watched.webhook("w", "orders", "after_insert", { enable_security: true, webhook_secret: former[0] });
    await watched.admin.query("select walhook.rotate_secret('w', $1)", [latter[0]]);
    await watched.webhook("v", "orders", "after_insert", { enable_security: true, webhook_secret: "symmetric" });
    const keys = await keysOf();
    expect(keys).toHaveLength(2);
    expect(keys.flatMap((key) => Object.keys(key))).not.toContain("d");

    const body = Buffer.from("{}");
    for (const [whsk] of [former, latter]) {
      const headers = Object.fromEntries(
        signatureHeaders({ keys: [decodeKey(whsk)], formats: ["standard"], id: "msg_1", timestampSeconds: 1, body }),
      );
      const signature = Buffer.from(headers["webhook-signature"]!.slice("v1a,".length), "base64");
      const isVerified = keys.map((key) => {
        return verify(null, Buffer.from("msg_1.1.{}"), createPublicKey({ key, format: "jwk" }), signature);
      });
      expect(isVerified.filter(Boolean)).toHaveLength(1);
    }
    expect(await keysOf("--webhook", "v")).toEqual([]);
    expect(await keysOf("--webhook", "v", "--public-key", former[1])).toHaveLength(1);
    await watched.admin.query("select walhook.rotate_secret('w', $1, '0 s')", [latter[0]]);
    expect(await keysOf()).toHaveLength(1);
  });

  it("says which key is none", async () => {
    const { code, err } = await walhook("keys", "jwks", "--public-key", "whpk_abc");
    expect(code).toBe(2);
    expect(err).toContain("32 bytes");
  });
});
