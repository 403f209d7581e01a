import { createHmac, timingSafeEqual, type KeyObject } from "node:crypto";
import type { Finding, Terms } from "./signed-request.ts";

/** Whether a signature is the HMAC-SHA256 of `prefix` and body, compared in constant time. */
export function isHmac(key: KeyObject, prefix: string, body: Buffer, given: Buffer): boolean {
  const expected = createHmac("sha256", key).update(prefix).update(body).digest();
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/** The bytes of a signature's text, or null where it is not exactly so many in that encoding. */
export function decodeExactly(text: string, encoding: "base64" | "hex", bytes: number): Buffer | null {
  const decoded = Buffer.from(text, encoding);
  return decoded.length === bytes && decoded.toString(encoding) === text ? decoded : null;
}

export const SHA256_BYTES = 32;

/** Why a timestamp is refused, or null. */
export function timestampProblem(text: string, { nowSeconds, toleranceSeconds }: Terms): string | null {
  if (!/^\d{1,15}$/.test(text)) return `the timestamp ${JSON.stringify(text)} is not a number of seconds since 1970`;
  const age = nowSeconds - Number(text);
  if (Math.abs(age) <= toleranceSeconds) return null;
  return `the timestamp is ${Math.abs(age)} s ${age > 0 ? "old" : "ahead"}, more than the ${toleranceSeconds} s allowed`;
}

export function refused(reason: string): Finding {
  return { ok: false, reason };
}

export function accepted(reason: string): Finding {
  return { ok: true, reason };
}

/** What to call the key at a place of the list. */
export function nameOfKey(index: number, count: number): string {
  return count === 1 ? "the secret" : `secret ${index + 1}`;
}

/**
 * What may have happened to a body that does not fit its signature: the first of the usual mistakes with which it
 * would fit, in words; null where none does.
 */
export function explainBody(body: Buffer, fits: (body: Buffer) => boolean): string | null {
  const text = body.toString("utf8");
  if (fits(Buffer.from(text.replace(/\r?\n$/, "")))) return "a line end was added to the body";
  if (fits(Buffer.from(`${text}\n`))) return "a line end of the body was lost";
  if (fits(Buffer.from(text.replaceAll("\r\n", "\n")))) return "the line ends of the body were changed";
  if (!Buffer.from(text).equals(body)) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (fits(Buffer.from(JSON.stringify(value)))) return "the body was parsed and written anew";
  } catch {
    // No JSON, so nobody wrote it anew.
  }
  return null;
}
