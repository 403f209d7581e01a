import { createHmac } from "node:crypto";

/** What an attempt's signature is made of. */
export interface Signable {
  /** The secret's text, or null where the webhook does not sign. */
  readonly secret: string | null;
  /** The delivery's id, the same on every attempt. */
  readonly id: string;
  /** When this attempt leaves, in whole seconds since 1970-01-01 UTC. */
  readonly timestampSeconds: number;
  /** The exact bytes that are sent. */
  readonly body: Buffer;
}

/**
 * The headers that name and sign one attempt: `webhook-id` and `webhook-timestamp` always; with a secret also
 * `webhook-signature` (Standard Webhooks 1.0.0, symmetric `v1`) and `X-Frappe-Webhook-Signature` (base64 of
 * HMAC-SHA256 over the body, keyed with the secret's text).
 *
 * Throws a `SyntaxError` for a secret that `secretProblem` complains about.
 */
export function signatureHeaders({ secret, id, timestampSeconds, body }: Signable): [name: string, value: string][] {
  const timestamp = String(timestampSeconds);
  const headers: [string, string][] = [
    ["webhook-id", id],
    ["webhook-timestamp", timestamp],
  ];
  if (secret === null) return headers;
  const signature = createHmac("sha256", standardKey(secret))
    .update(`${id}.${timestamp}.`)
    .update(body)
    .digest("base64");
  headers.push(["webhook-signature", `v1,${signature}`]);
  headers.push(["X-Frappe-Webhook-Signature", createHmac("sha256", secret).update(body).digest("base64")]);
  return headers;
}

const PREFIX = "whsec_";

/**
 * The key bytes of a secret in Standard Webhooks: after `whsec_` base64 of them, any other text is its UTF-8
 * bytes (receivers say so to their library with `format: "raw"`).
 */
function standardKey(secret: string): Buffer {
  if (!secret.startsWith(PREFIX)) return Buffer.from(secret, "utf8");
  const problem = secretProblem(secret);
  if (problem !== null) throw new SyntaxError(problem);
  return Buffer.from(secret.slice(PREFIX.length), "base64");
}

/**
 * Why a text cannot be a signing secret, or null where it can. Any text can that is not empty; one that says
 * of itself to be `whsec_` base64 must be it, because every receiver's library would refuse it.
 */
export function secretProblem(secret: string): string | null {
  if (secret === "") return "the webhook's secret is empty";
  if (!secret.startsWith(PREFIX)) return null;
  const digits = secret.slice(PREFIX.length);
  if (digits === "") return "the webhook's secret has nothing after whsec_";
  const isBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/.test(digits);
  if (!isBase64) return "the webhook's secret begins with whsec_, but what follows is not base64";
  return null;
}
