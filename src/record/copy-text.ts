import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";

/** SQL NULL in COPY's text format. */
export const NULL = "\\N";

const PAGE_CHARACTERS = 256 * 1024;

/**
 * Writes rows by COPY inside the transaction that is open on `client`; `toLine` gives a row without its newline.
 * https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2
 */
export async function copyRows<T>(
  client: pg.ClientBase,
  target: { readonly table: string; readonly columns: readonly string[] },
  rows: readonly T[],
  toLine: (row: T) => string,
): Promise<void> {
  if (rows.length === 0) return;
  const statement = `copy ${target.table} (${target.columns.join(", ")}) from stdin`;
  await pipeline(Readable.from(pages(rows, toLine), { objectMode: false }), client.query(copyFrom(statement)));
}

function* pages<T>(rows: readonly T[], toLine: (row: T) => string): Generator<Buffer> {
  let page = "";
  for (const row of rows) {
    page += `${toLine(row)}\n`;
    if (page.length < PAGE_CHARACTERS) continue;
    yield Buffer.from(page, "utf8");
    page = "";
  }
  if (page !== "") yield Buffer.from(page, "utf8");
}

const SPECIAL = /[\\\n\r\t\0]/;
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** A text as a COPY field. Text cannot hold a NUL in Postgres, though an answer's body can: it becomes U+FFFD. */
export function copyText(text: string | null): string {
  if (text === null) return NULL;
  if (!SPECIAL.test(text)) return text;
  return text.replaceAll(/[\\\n\r\t\0]/g, (character) => ESCAPES[character] ?? "\uFFFD");
}

/** Bytes as a bytea field. */
export function copyBytes(bytes: Buffer | null): string {
  return bytes === null ? NULL : `\\\\x${bytes.toString("hex")}`;
}

/** Milliseconds since 1970 as a timestamptz field. */
export function copyTime(ms: number | null): string {
  return ms === null ? NULL : new Date(ms).toISOString();
}

/** Microseconds since 1970 as a timestamptz field, to the microsecond. */
export function copyMicroseconds(us: bigint): string {
  const rest = ((us % 1000n) + 1000n) % 1000n;
  const ms = Number((us - rest) / 1000n);
  return new Date(ms).toISOString().replace("Z", `${rest.toString().padStart(3, "0")}Z`);
}
