import { createHmac, sign, type KeyObject } from "node:crypto";
import type { SignatureFormat } from "../match/webhook.ts";
import type { SigningKey } from "./signing-key.ts";

/** What an attempt's signatures are made of. */
export interface Signable {
  /** What signs now, oldest first; none where the webhook does not sign. */
  readonly keys: readonly SigningKey[];
  readonly formats: readonly SignatureFormat[];
  /** The delivery's id, the same on every attempt. */
  readonly id: string;
  /** When this attempt leaves, in whole seconds since 1970-01-01 UTC. */
  readonly timestampSeconds: number;
  /** The exact bytes that are sent. */
  readonly body: Buffer;
}

type Header = [name: string, value: string];

/**
 * The headers that name and sign one attempt: `webhook-id` and `webhook-timestamp` always; with keys also, by format,
 *
 * - `standard`: `webhook-signature` of Standard Webhooks 1.0.0, one entry for each key, the newest first: `v1`
 *   HMAC-SHA256 or `v1a` ed25519, over `<id>.<timestamp>.<body>`;
 * - `stripe`: `Stripe-Signature: t=…,v1=…`, one `v1` for each symmetric key, the newest first: hex of HMAC-SHA256 over
 *   `<timestamp>.<body>`, keyed with the secret's text;
 * - `frappe`: `X-Frappe-Webhook-Signature`, base64 of HMAC-SHA256 over the body, keyed with the secret's text;
 * - `github`: `X-Hub-Signature-256: sha256=` and hex of the same.
 *
 * The last two hold one signature only, made with the oldest key: so a receiver that knows only the former secret
 * goes on until its grace has ended.
 */
export function signatureHeaders({ keys, formats, id, timestampSeconds, body }: Signable): Header[] {
  const timestamp = String(timestampSeconds);
  const headers: Header[] = [
    ["webhook-id", id],
    ["webhook-timestamp", timestamp],
  ];
  if (keys.length === 0) return headers;
  const oldest = keys.find((key) => key.kind === "symmetric");
  for (const format of formats) {
    switch (format) {
      case "standard":
        headers.push(["webhook-signature", standardSignatures(keys, `${id}.${timestamp}.`, body)]);
        break;
      case "stripe":
        headers.push(["Stripe-Signature", stripeSignature(keys, timestamp, body)]);
        break;
      case "frappe":
        if (oldest !== undefined) headers.push(["X-Frappe-Webhook-Signature", hmac(oldest.text, "", body, "base64")]);
        break;
      case "github":
        if (oldest !== undefined) headers.push(["X-Hub-Signature-256", `sha256=${hmac(oldest.text, "", body, "hex")}`]);
        break;
      default:
        format satisfies never;
    }
  }
  return headers;
}

/** Which of these keys have a part in the signatures of these formats, by their places. */
export function signers(keys: readonly SigningKey[], formats: readonly SignatureFormat[]): readonly number[] {
  const all = [...keys.keys()];
  if (formats.includes("standard")) return all;
  const symmetric = all.filter((index) => keys[index]!.kind === "symmetric");
  return formats.includes("stripe") ? symmetric : symmetric.slice(0, 1);
}

/** Why these keys cannot make what these formats ask for, or null where they can. */
export function formatProblem(keys: readonly SigningKey[], formats: readonly SignatureFormat[]): string | null {
  if (keys.some(({ kind }) => kind === "symmetric")) return null;
  // Frappe's is there unless somebody takes it out, so it is not missed beside another one.
  const needy = formats.filter((format) => format === "github" || format === "stripe");
  const missed = needy.length > 0 ? needy : formats.includes("standard") ? [] : formats;
  if (missed.length === 0) return null;
  return `signature_formats has ${missed.join(", ")}, which needs a symmetric secret, and there is none`;
}

function standardSignatures(keys: readonly SigningKey[], prefix: string, body: Buffer): string {
  let signatures = "";
  let signed: Buffer | null = null;
  for (let index = keys.length - 1; index >= 0; index--) {
    const key = keys[index]!;
    if (signatures !== "") signatures += " ";
    if (key.kind === "symmetric") signatures += `v1,${hmac(key.standard, prefix, body, "base64")}`;
    else {
      // Ed25519 goes over its message twice, so it needs it in one piece.
      signed ??= Buffer.concat([Buffer.from(prefix), body]);
      signatures += `v1a,${sign(null, signed, key.key).toString("base64")}`;
    }
  }
  return signatures;
}

function stripeSignature(keys: readonly SigningKey[], timestamp: string, body: Buffer): string {
  let signature = `t=${timestamp}`;
  for (const key of keys.toReversed()) {
    if (key.kind === "symmetric") signature += `,v1=${hmac(key.text, `${timestamp}.`, body, "hex")}`;
  }
  return signature;
}

function hmac(key: KeyObject, prefix: string, body: Buffer, encoding: "base64" | "hex"): string {
  return createHmac("sha256", key).update(prefix).update(body).digest(encoding);
}
