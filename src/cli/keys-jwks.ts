import { createHash } from "node:crypto";
import { connect, displayUrl } from "../db/connection.ts";
import { decodePublicKey, publicBytes } from "../deliver/signing-key.ts";
import { ADMIN_HINT, explain } from "../errors.ts";
import type { Command } from "./command.ts";
import { orUsageError } from "./input.ts";

const PUBLIC_KEYS = `
  select distinct k.public_key from walhook.signing_key k
  where k.public_key is not null and ($1::text is null or k.webhook = $1) order by k.public_key`;

/** `walhook keys jwks`: the public keys, as receivers' libraries read them. */
export const keysJwks: Command = {
  name: "keys jwks",
  summary: "prints the public keys that signatures are verified with, as a JWKS",
  description: [
    "Prints the public keys of all webhooks that sign with ed25519 (v1a) as a JSON Web Key Set, RFC 7517 and 8037, those " +
      "under a grace among them. Needs a role that can read walhook.signing_key: walhook_admin, walhook_analyst or " +
      "walhook_bridge. Private keys are never read.",
    "The key of a secret that is a reference (env:, file:) is known to the bridge alone: add it with --public-key.",
  ],
  options: ["databaseUrl"],
  switches: [],
  values: [
    { flag: "webhook", unit: "name", help: "those of this webhook only" },
    { flag: "public-key", unit: "whpk", help: "further keys, separated by spaces" },
  ],
  examples: ["walhook keys jwks > /var/www/.well-known/webhook-keys.json"],
  exitCodes: [],
  run: async ({ config, values, print }) => {
    const client = await connect(config.databaseUrl, "walhook keys");
    try {
      const { rows } = await client.query<{ public_key: string }>(PUBLIC_KEYS, [values["webhook"] ?? null]);
      const further = (values["public-key"] ?? "").split(/\s+/).filter((word) => word !== "");
      const texts = [...new Set([...rows.map(({ public_key }) => public_key), ...further])];
      print(JSON.stringify({ keys: orUsageError(() => texts.map(toJwk)) }, null, 2));
      return 0;
    } catch (error) {
      throw explain(error, `reading walhook.signing_key in ${displayUrl(config.databaseUrl)}`, ADMIN_HINT);
    } finally {
      await client.end();
    }
  },
};

/** A public key as JWK (RFC 8037); `kid` is its thumbprint (RFC 7638). */
export function toJwk(text: string): Readonly<Record<string, string>> {
  const x = publicBytes(decodePublicKey(text)).toString("base64url");
  const thumbprint = createHash("sha256").update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest("base64url");
  return { kty: "OKP", crv: "Ed25519", x, kid: thumbprint, use: "sig", alg: "EdDSA" };
}
