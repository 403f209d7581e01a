import type { Pending, PendingChange } from "./pending.ts";
import type { Relation } from "./relation.ts";
import type { Row } from "./row-change.ts";

/** How far a DELETE's other half is looked for; the same on every replay, so that the answer is too. */
const LOOK_AHEAD_CHANGES = 1000;
/** Well below half of any high-water mark: what is held back here must not hold the socket back for good. */
const LOOK_AHEAD_BYTES = 256 * 1024;

/** Whether a DELETE is one half of a moved row. */
export type Move =
  | { readonly verdict: "no" }
  /** What has arrived so far does not tell. */
  | { readonly verdict: "wait" }
  /** The INSERT at this index of the list is the other half: the two are one update, at the INSERT's place. */
  | { readonly verdict: "yes"; readonly index: number; readonly inserted: PendingChange };

/**
 * A row that an UPDATE moves to another partition arrives as a DELETE and an INSERT under the same root, in one
 * transaction, possibly with changes of other tables between them (triggers). Nothing in the stream tells them
 * from a row that was deleted and another one that was inserted, so they are taken for one where the key is equal
 * but for the columns that the table is partitioned by (see `moveKeyIndexes`). `at` is the DELETE's place
 * in the list; the next change of the same root decides, or the Commit, or 1,000 changes or 256 KiB of others.
 * Pure; positions of the WAL, not of reads, decide, so a replay comes to the same answer.
 */
export function findMove(pending: readonly Pending[], at: number): Move {
  const first = pending[at];
  if (first?.type !== "change" || first.images.kind !== "delete") return { verdict: "no" };
  const { relation } = first.entry;
  if (relation === null) return { verdict: "wait" };
  if (relation.moveKeyIndexes === undefined) return { verdict: "no" };
  let bytes = 0;
  for (let index = at + 1; index < pending.length; index++) {
    const next = pending[index];
    if (next === undefined || next.type === "commit" || index - at > LOOK_AHEAD_CHANGES) return { verdict: "no" };
    if (next.type !== "change") continue;
    bytes += next.frameBytes;
    if (next.entry.message.oid === relation.oid) {
      if (next.images.kind !== "insert") return { verdict: "no" };
      if (next.entry.relation === null) return { verdict: "wait" };
      const isSame = isSameRow(relation, first.images.old, next.entry.relation, next.images.new);
      return isSame ? { verdict: "yes", index, inserted: next } : { verdict: "no" };
    }
    if (bytes > LOOK_AHEAD_BYTES) return { verdict: "no" };
  }
  return { verdict: "wait" };
}

/** The INSERT of a moved row with the DELETE's row as the one before it. */
export function foldMove(deleted: PendingChange, inserted: PendingChange): PendingChange {
  if (deleted.images.kind !== "delete" || inserted.images.kind !== "insert") return inserted;
  return { ...inserted, images: { kind: "update", old: deleted.images.old, new: inserted.images.new } };
}

function isSameRow(before: Relation, old: Row, after: Relation, row: Row): boolean {
  const hasSameColumns =
    before.columns.length === after.columns.length &&
    before.columns.every((column, index) => column.name === after.columns[index]?.name);
  if (!hasSameColumns || before.moveKeyIndexes === undefined) return false;
  return before.moveKeyIndexes.every((column) => {
    const value = old[column];
    return typeof value === "string" && value === row[column];
  });
}
