// What JSON must escape, and surrogates: text from Postgres has none alone, but JSON.stringify knows for sure.
// oxlint-disable-next-line no-control-regex
const NEEDS_CARE = /["\\\u0000-\u001f\ud800-\udfff]/;

/** A text as a JSON string, quotes included. */
export function jsonString(text: string): string {
  return NEEDS_CARE.test(text) ? JSON.stringify(text) : `"${text}"`;
}
