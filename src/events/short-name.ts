import { createHash } from "node:crypto";

/** In UTF-8. The log's index holds it beside a table's name of 127 bytes and a time, and B-tree entries end at 2,704 bytes. */
const MAX_BYTES = 1800;

/**
 * A document's name as queue, log and lanes hold it: itself up to 1,800 bytes; of a longer one the first 1,800 bytes, or
 * up to three fewer so that no character is cut, `...sha256:` and the SHA-256 of all of it in hex. So what is shortened is longer
 * than any name that is not, and different names stay different. ASCII, since the database may have no more.
 * `walhook.short_name` is the same in SQL.
 */
export function shortName(name: string): string {
  // A UTF-16 unit is three bytes at most.
  if (name.length * 3 <= MAX_BYTES) return name;
  const bytes = Buffer.from(name, "utf8");
  if (bytes.length <= MAX_BYTES) return name;
  let end = MAX_BYTES;
  while (isContinuation(bytes[end] as number)) end--;
  return `${bytes.toString("utf8", 0, end)}...sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
