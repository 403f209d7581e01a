import { createHash } from "node:crypto";

/** Names what a delivery is about, the same from the ledger and from a request: webhook, event, and the change. */
export function deliveryKey(webhook: string, event: string, change: string): string {
  return `${webhook} ${event} ${change}`;
}

/** The name of a change in a delivery's key: the number in its row; a TRUNCATE has no row but its transaction. */
export function changeName(rowSeq: string | number | null, xid: string | number): string {
  return rowSeq === null ? `xid ${xid}` : String(rowSeq);
}

/** A row without the columns that are added and dropped while the test runs, which change it without a number of their own. */
export function lastingColumns(doc: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(doc).filter(([name]) => !name.startsWith("extra_")));
}

/** A short hash of a JSON value, whatever the order of its keys. */
export function fingerprint(value: unknown): string {
  return shortHash(JSON.stringify(sorted(value)));
}

export function shortHash(data: string | Buffer): string {
  return createHash("sha256").update(data).digest("base64url").slice(0, 16);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, sorted(member)]),
  );
}
