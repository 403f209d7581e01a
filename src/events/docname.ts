import type { Relation } from "../decode/relation.ts";
import type { Row } from "../decode/row-change.ts";

/**
 * A document's name: its primary key as Postgres' text; several key columns are a JSON array of texts,
 * exactly as `JSON.stringify` writes it. Null where the table has no primary key or a key value is unknown.
 */
export function docname(relation: Relation, row: Row): string | null {
  const keys = relation.keyIndexes;
  if (keys.length === 1) return row[keys[0] as number] ?? null;
  if (keys.length === 0) return null;
  const texts: string[] = [];
  for (const index of keys) {
    const text = row[index];
    if (text === undefined || text === null) return null;
    texts.push(text);
  }
  return JSON.stringify(texts);
}
