import type { RowChange } from "../decode/row-change.ts";
import { rowAfter } from "../events/row-after.ts";
import { RowView } from "./row-view.ts";
import { UnknownRow } from "./template-value.ts";
import { oversizedValue, unchangedValue, unknownOldValue } from "./unknown-value.ts";

/** `doc`: the row after a change, before a delete; null for a truncate. */
export function docView(change: RowChange): RowView | null {
  const row = rowAfter(change);
  if (row === null) return null;
  const { relation, oversized } = change;
  const unknown = change.kind === "delete" ? unknownOldValue : unchangedValue;
  if (oversized === undefined) return new RowView(relation, row, unknown);
  const names = new Set(oversized.map((index) => relation.columns[index]?.name));
  return new RowView(relation, row, (doctype, column) =>
    names.has(column) ? oversizedValue(doctype, column) : unknown(doctype, column),
  );
}

/** `old`: the row before an update or a delete; null where there was none. */
export function oldView(change: RowChange): RowView | UnknownRow | null {
  if (change.kind === "delete") return docView(change);
  if (change.kind !== "update") return null;
  const { relation, old } = change;
  return old === null ? new UnknownRow(relation.doctype) : new RowView(relation, old, unknownOldValue);
}
