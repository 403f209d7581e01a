import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from "node:crypto";

/** A secret, decoded once, ready to sign with. */
export type SigningKey =
  | {
      readonly kind: "symmetric";
      /** What Standard Webhooks signs with: the decoded bytes of `whsec_`, of any other text its UTF-8 bytes. */
      readonly standard: KeyObject;
      /** The secret's text as UTF-8, prefix included: what Frappe, GitHub and Stripe sign with. */
      readonly text: KeyObject;
    }
  | {
      readonly kind: "ed25519";
      readonly key: KeyObject;
      /** `whpk_` and base64. */
      readonly publicKey: string;
    };

const SYMMETRIC = "whsec_";
const PRIVATE = "whsk_";
const PUBLIC = "whpk_";

/** What a text says of itself to be. */
function kindOf(text: string): SigningKey["kind"] {
  if (text.startsWith(PUBLIC)) throw new SyntaxError("whpk_ is a public key, which signs nothing");
  return text.startsWith(PRIVATE) ? "ed25519" : "symmetric";
}

/**
 * A secret's text as a key. Any text is one that is not empty; what says of itself to be `whsec_` or `whsk_`
 * base64 must be it, because every receiver's library would refuse it.
 * @param kind where it is settled, whatever the text begins with
 * @throws SyntaxError which says what is wrong, without the secret
 */
export function decodeKey(text: string, kind: SigningKey["kind"] = kindOf(text)): SigningKey {
  if (text === "") throw new SyntaxError("the secret is empty");
  if (kind === "ed25519") return decodePrivateKey(text);
  const standard = text.startsWith(SYMMETRIC) ? decodeSymmetric(text.slice(SYMMETRIC.length)) : Buffer.from(text);
  return { kind, standard: createSecretKey(standard), text: createSecretKey(Buffer.from(text)) };
}

function decodeSymmetric(digits: string): Buffer {
  if (digits === "") throw new SyntaxError("the secret has nothing after whsec_");
  const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/.test(digits);
  if (!isBase64) throw new SyntaxError("the secret begins with whsec_, but what follows is not base64");
  return Buffer.from(digits, "base64");
}

/** DER of a PKCS #8 private key and of an SPKI public key of ed25519, up to their 32 bytes (RFC 8410). */
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const KEY_BYTES = 32;

/** `whsk_` and base64 of the 32 bytes of the seed and the 32 of the public key, as Svix writes it. */
function decodePrivateKey(text: string): SigningKey {
  const digits = text.slice(PRIVATE.length);
  const bytes = Buffer.from(digits, "base64");
  if (!text.startsWith(PRIVATE) || !/^[A-Za-z0-9+/]{86}==$/.test(digits) || bytes.length !== 2 * KEY_BYTES) {
    throw new SyntaxError("whsk_ must be followed by base64 of 64 bytes, an ed25519 seed and its public key");
  }
  const der = Buffer.concat([PKCS8_HEAD, bytes.subarray(0, KEY_BYTES)]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKey = publicBytes(createPublicKey(key));
  if (!publicKey.equals(bytes.subarray(KEY_BYTES))) {
    throw new SyntaxError("the two halves of the whsk_ key do not belong together");
  }
  return { kind: "ed25519", key, publicKey: PUBLIC + publicKey.toString("base64") };
}

/** The two texts of a new key of ed25519. */
export function encodeKeyPair(key: KeyObject): { readonly privateKey: string; readonly publicKey: string } {
  const seed = Buffer.from(String(key.export({ format: "jwk" }).d), "base64url");
  const publicKey = publicBytes(createPublicKey(key));
  return {
    privateKey: PRIVATE + Buffer.concat([seed, publicKey]).toString("base64"),
    publicKey: PUBLIC + publicKey.toString("base64"),
  };
}

/**
 * A public key's text, `whpk_` and base64 of 32 bytes, as a key.
 * @throws SyntaxError which says what is wrong
 */
export function decodePublicKey(text: string): KeyObject {
  const digits = text.slice(PUBLIC.length);
  if (!text.startsWith(PUBLIC) || !/^[A-Za-z0-9+/]{43}=$/.test(digits)) {
    throw new SyntaxError("whpk_ must be followed by base64 of 32 bytes, an ed25519 public key");
  }
  const der = Buffer.concat([SPKI_HEAD, Buffer.from(digits, "base64")]);
  return createPublicKey({ key: der, format: "der", type: "spki" });
}

/** The 32 bytes of a public key. */
export function publicBytes(key: KeyObject): Buffer {
  return Buffer.from(String(key.export({ format: "jwk" }).x), "base64url");
}
