import type { Row, RowChange } from "../decode/row-change.ts";

const completed = new WeakMap<RowChange, Row>();

/**
 * The document that a change is about: the row after it, for a delete the row before it, null for a truncate.
 * A value that the new row leaves out because it did not change is taken from the old row where that has it.
 */
export function rowAfter(change: RowChange): Row | null {
  switch (change.kind) {
    case "insert":
      return change.new;
    case "delete":
      return change.old;
    case "truncate":
      return null;
    case "update": {
      const { old } = change;
      if (old === null || !change.new.includes(undefined)) return change.new;
      let row = completed.get(change);
      if (row === undefined) {
        // A value too long to be decoded did change, for all we know: the old one does not stand for it. NULL is
        // never left out for being unchanged, so an old NULL there is not the truth.
        const { oversized } = change;
        row = change.new.map((text, index) =>
          text === undefined && oversized?.includes(index) !== true ? (old[index] ?? undefined) : text,
        );
        completed.set(change, row);
      }
      return row;
    }
  }
}
