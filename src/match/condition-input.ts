import type { Row, RowChange } from "../decode/row-change.ts";
import { rowLiteral } from "./row-literal.ts";
import type { Condition } from "./webhook.ts";

/** The row that conditions see as `old`: before an update or a delete; all NULL for every other change. */
export function oldOf(change: RowChange): Row | null {
  return change.kind === "update" || change.kind === "delete" ? change.old : null;
}

const indexCache = new WeakMap<RowChange["relation"], Map<string, readonly number[]>>();

/** Where a condition's columns stand in the relation; -1 for a column it does not have (any more). */
export function columnIndexes(condition: Condition, { relation }: RowChange): readonly number[] {
  const ofRelation = indexCache.get(relation) ?? new Map<string, readonly number[]>();
  indexCache.set(relation, ofRelation);
  const known = ofRelation.get(condition.functionName);
  if (known !== undefined) return known;
  const indexes = condition.columns.map((name) => relation.columns.findIndex((column) => column.name === name));
  ofRelation.set(condition.functionName, indexes);
  return indexes;
}

/** A row as a condition is given it: its columns as a composite literal; null where there is no row. */
export function toLiteral(row: Row | null, indexes: readonly number[]): string | null {
  return row === null ? null : rowLiteral(indexes.map((index) => row[index] ?? null));
}
