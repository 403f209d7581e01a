import type { Row } from "../decode/row-change.ts";
import type { Key } from "./progress.ts";

/** A row as it was read: values, or why it could not be read. */
export type ReadRow =
  | { readonly kind: "row"; readonly values: Row; readonly oversized: readonly number[] | null }
  | { readonly kind: "error"; readonly key: Key; readonly reason: string };

/** A table as it was when rows were read. */
export interface ReadTable {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[];
}

/** What one question to `walhook.read_backfill` has brought. */
export interface Reading {
  /** Null: as when the backfill was asked for. */
  readonly table: ReadTable | null;
  readonly rows: readonly ReadRow[];
  /** How far it came; null: to its last row. */
  readonly reached: Key | null;
  /** There is nothing more. */
  readonly isEnd: boolean;
  /** Of first, last and top. */
  readonly key: Key | null;
  readonly count: string | null;
}

type Texts = readonly (string | null)[];

/** The answers of walhook.scan_backfill, each behind an element that says what it is. */
export function toReading(answers: readonly Texts[]): Reading {
  let table: ReadTable | null = null;
  let reached: Key | null = null;
  let key: Key | null = null;
  let count: string | null = null;
  let isEnd = false;
  const rows: ReadRow[] = [];
  for (const [head, ...texts] of answers) {
    switch (head ?? "") {
      case "table":
        table = JSON.parse(texts[0] ?? "") as ReadTable;
        break;
      case "count":
        count = texts[0] ?? null;
        break;
      case "key":
        key = toKey(texts);
        break;
      case "at":
        reached = texts.length === 0 ? null : toKey(texts);
        break;
      case "end":
        isEnd = true;
        break;
      case "error":
        rows.push({ kind: "error", reason: texts[0] ?? "", key: toKey(texts.slice(1)) });
        break;
      default:
        rows.push(toRow(head ?? "", texts));
    }
  }
  return { table, rows, reached, isEnd, key, count };
}

/** `places` lists what was left out since it makes the row too large, as decoding a row of the stream does. */
function toRow(places: string, texts: Texts): ReadRow {
  if (places === "") return { kind: "row", values: texts, oversized: null };
  const oversized = places.split(",").map(Number);
  return { kind: "row", values: texts.map((text, i) => (oversized.includes(i) ? undefined : text)), oversized };
}

function toKey(texts: Texts): Key {
  return texts.map((text) => text ?? "");
}
