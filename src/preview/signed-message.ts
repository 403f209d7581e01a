import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Queryable } from "../db/queryable.ts";

/** What `walhook.emit` puts before a message: its token, and a signature over that. */
const START = /^([0-9a-f-]{36}) ([0-9a-f]{64}) /;
const MAX_START_CHARACTERS = 102;

/** By what messages of Walhook's own are known. Where there is none, none is known. */
export async function readMessageKey(db: Queryable): Promise<Buffer> {
  const { rows } = await db.query("select k.key from walhook.message_key k");
  return (rows[0] as { readonly key: Buffer } | undefined)?.key ?? randomBytes(32);
}

/**
 * The token and the JSON of a message that `walhook.emit` has written; null for one of anybody else's, of which no more than the
 * first letters are looked at.
 */
export function openMessage(content: string, key: Buffer): { readonly token: string; readonly json: string } | null {
  const [start, token = "", signature = ""] = START.exec(content.slice(0, MAX_START_CHARACTERS)) ?? [];
  if (start === undefined) return null;
  const inner = createHash("sha256").update(key).update(token).digest();
  const expected = createHash("sha256").update(key).update(inner).digest();
  if (!timingSafeEqual(expected, Buffer.from(signature, "hex"))) return null;
  return { token, json: content.slice(start.length) };
}
