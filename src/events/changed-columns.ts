import type { RowChange } from "../decode/row-change.ts";

/** Which columns an UPDATE changed, and whether that is the whole truth. */
export interface ChangedColumns {
  /** Columns whose stored text is known to differ, in column order. */
  readonly names: readonly string[];
  /** False when some column's value before or after is unknown: there may be more. */
  readonly isComplete: boolean;
}

/**
 * Compares the stored texts of an UPDATE column by column. A new value that the WAL leaves out is an
 * unchanged TOAST value and does not differ, whatever is known of the old one; unless it was too long to be decoded.
 */
export function changedColumns(change: RowChange & { readonly kind: "update" }): ChangedColumns {
  const { old, relation, oversized } = change;
  const names: string[] = [];
  let isComplete = true;
  for (let index = 0; index < relation.columns.length; index++) {
    const after = change.new[index];
    if (after === undefined) {
      if (oversized?.includes(index) === true) isComplete = false;
      continue;
    }
    const before = old === null ? undefined : old[index];
    if (before === undefined) isComplete = false;
    else if (before !== after) names.push((relation.columns[index] as { readonly name: string }).name);
  }
  return { names, isComplete };
}
