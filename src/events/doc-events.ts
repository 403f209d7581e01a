import type { RowChange } from "../decode/row-change.ts";
import { changedColumns } from "./changed-columns.ts";
import type { DocEvent, DocEventName } from "./doc-event.ts";
import { docname } from "./docname.ts";
import { rowAfter } from "./row-after.ts";

type Update = RowChange & { readonly kind: "update" };

/**
 * What a change means to its document, in this order, which is that of the events' numbers:
 * `after_insert`, `on_update`, `on_submit`, `on_cancel`, `on_update_after_submit`, `on_change`, `on_trash`, `on_truncate`.
 *
 * Where a rule needs a value that the WAL does not carry, every event that may have happened is there
 * with `isCertain` false.
 */
export function docEvents(change: RowChange): DocEvent[] {
  switch (change.kind) {
    case "insert": {
      const name = docname(change.relation, change.new);
      const events = [event("after_insert", change, name)];
      const status = change.new[change.relation.docstatusIndex];
      if (isSubmittable(change) && status === "1") events.push(event("on_submit", change, name));
      events.push(event("on_change", change, name));
      return events;
    }
    case "update":
      return updateEvents(change);
    case "delete":
      return [event("on_trash", change, docname(change.relation, change.old))];
    case "truncate":
      return [event("on_truncate", change, null)];
  }
}

function updateEvents(change: Update): DocEvent[] {
  const name = docname(change.relation, rowAfter(change) ?? change.new);
  const before = change.old === null ? null : docname(change.relation, change.old);
  const oldName = before === name ? null : before;
  const events: DocEvent[] = [];
  const saved = saveEvents(change);
  for (const save of saved.names) events.push(event(save, change, name, oldName, saved.isCertain));
  const changed = changedColumns(change);
  if (changed.names.length > 0) events.push(event("on_change", change, name, oldName));
  else if (!changed.isComplete) events.push(event("on_change", change, name, oldName, false));
  return events;
}

interface SaveEvents {
  readonly names: readonly DocEventName[];
  readonly isCertain: boolean;
}

const UPDATED: SaveEvents = { names: ["on_update"], isCertain: true };
const SUBMITTED: SaveEvents = { names: ["on_update", "on_submit"], isCertain: true };
const CANCELLED: SaveEvents = { names: ["on_cancel"], isCertain: true };
const UPDATED_AFTER_SUBMIT: SaveEvents = { names: ["on_update_after_submit"], isCertain: true };
const PERHAPS_SUBMITTED: SaveEvents = {
  names: ["on_update", "on_submit", "on_update_after_submit"],
  isCertain: false,
};
const PERHAPS_CANCELLED: SaveEvents = { names: ["on_update", "on_cancel"], isCertain: false };
const PERHAPS_ANY: SaveEvents = {
  names: ["on_update", "on_submit", "on_cancel", "on_update_after_submit"],
  isCertain: false,
};

/** Tells an UPDATE of a submittable table apart by its docstatus before and after, as Frappe's Document does. */
function saveEvents(change: Update): SaveEvents {
  if (!isSubmittable(change)) return UPDATED;
  const index = change.relation.docstatusIndex;
  const before = change.old === null ? undefined : change.old[index];
  // A value that is left out did not change.
  const after = change.new[index] === undefined ? before : change.new[index];
  if (after === undefined) return PERHAPS_ANY;
  if (after === "1") {
    if (before === undefined) return PERHAPS_SUBMITTED;
    if (before === "0") return SUBMITTED;
    return before === "1" ? UPDATED_AFTER_SUBMIT : UPDATED;
  }
  if (after === "2") {
    if (before === undefined) return PERHAPS_CANCELLED;
    return before === "1" ? CANCELLED : UPDATED;
  }
  return UPDATED;
}

function isSubmittable(change: RowChange): boolean {
  return change.relation.docstatusIndex >= 0;
}

function event(
  name: DocEventName,
  change: RowChange,
  documentName: string | null,
  oldDocname: string | null = null,
  isCertain = true,
): DocEvent {
  return { name, change, docname: documentName, oldDocname, isCertain };
}
