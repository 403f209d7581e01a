import { generateKeyPairSync, randomBytes } from "node:crypto";
import { encodeKeyPair } from "../deliver/signing-key.ts";
import type { Command } from "./command.ts";
import { readChoice, readNumber } from "./input.ts";

/** `walhook keys generate`: a new secret or pair of keys. */
export const keysGenerate: Command = {
  name: "keys generate",
  summary: "makes a signing secret, or a pair of ed25519 keys",
  description: [
    "Prints a new symmetric secret (whsec_…); or, of a pair of ed25519 keys, the private one (whsk_…, for " +
      "walhook.webhook.webhook_secret or walhook.rotate_secret) and on the next line the public one (whpk_…, for receivers). " +
      "It is stored nowhere. Needs no database.",
    "In SQL: select walhook.generate_secret();",
  ],
  options: [],
  switches: [],
  values: [
    { flag: "kind", unit: "kind", help: "symmetric or ed25519; default symmetric" },
    { flag: "bytes", unit: "bytes", help: "random bytes of a symmetric secret, 24 to 64; default 32" },
  ],
  examples: ["walhook keys generate", "walhook keys generate --kind ed25519"],
  exitCodes: ["0  done", "2  wrong flag"],
  run: async ({ values, print }) => {
    const kind = readChoice(values, "kind", ["symmetric", "ed25519"], "symmetric");
    const bytes = readNumber(values, "bytes", 24, 64, 32);
    if (kind === "symmetric") print(`whsec_${randomBytes(bytes).toString("base64")}`);
    else {
      const { privateKey, publicKey } = encodeKeyPair(generateKeyPairSync("ed25519").privateKey);
      print(privateKey);
      print(publicKey);
    }
    return 0;
  },
};
