import { createPublicKey, type KeyObject } from "node:crypto";
import { decodeKey, decodePublicKey } from "../../deliver/signing-key.ts";

/** What a receiver verifies with. */
export type VerificationKey =
  | {
      readonly kind: "symmetric";
      /** For Standard Webhooks. */
      readonly standard: KeyObject;
      /** For Frappe, GitHub and Stripe: the secret's text. */
      readonly text: KeyObject;
    }
  | { readonly kind: "ed25519"; readonly key: KeyObject };

/**
 * The keys in a text: one secret, or several separated by spaces where each begins with `whsec_`, `whsk_` or
 * `whpk_`. Of a private key its public half.
 * @throws SyntaxError which says what is wrong, without the secret
 */
export function parseVerificationKeys(text: string): readonly VerificationKey[] {
  return splitSecrets(text).map(toVerificationKey);
}

/** The secrets in a text, as `parseVerificationKeys` takes it. */
export function splitSecrets(text: string): readonly string[] {
  const words = text.trim().split(/\s+/);
  return words.every((word) => /^wh(?:sec|sk|pk)_/.test(word)) ? words : [text];
}

function toVerificationKey(text: string): VerificationKey {
  if (text.startsWith("whpk_")) return { kind: "ed25519", key: decodePublicKey(text) };
  const key = decodeKey(text);
  return key.kind === "symmetric" ? key : { kind: "ed25519", key: createPublicKey(key.key) };
}
