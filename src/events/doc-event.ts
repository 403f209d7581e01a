import type { RowChange } from "../decode/row-change.ts";

/**
 * The doc events, in the order of their numbers, which are part of every delivery id and never change.
 * It is also the order of the events of one change, so sorting by id is sorting by time.
 * The names are Frappe's where Frappe has one.
 */
export const DOC_EVENTS = [
  "after_insert",
  "on_update",
  "on_submit",
  "on_cancel",
  "on_update_after_submit",
  "on_change",
  "on_trash",
  "on_truncate",
  "backfill",
  "test",
] as const;

export type DocEventName = (typeof DOC_EVENTS)[number];

/** The number of each doc event: its place in `DOC_EVENTS`. */
export const DOC_EVENT_NUMBERS: Readonly<Record<DocEventName, number>> = Object.fromEntries(
  DOC_EVENTS.map((name, number) => [name, number]),
) as Record<DocEventName, number>;

/** Something that happened to a document. */
export interface DocEvent {
  readonly name: DocEventName;
  readonly change: RowChange;
  /** The document's name after the change, for `on_trash` before it; null without primary key and for `on_truncate`. */
  readonly docname: string | null;
  /** The name before, where an UPDATE changed it; else null. */
  readonly oldDocname: string | null;
  /** False when a rule needed a value that the WAL does not carry: nobody can say whether this happened. */
  readonly isCertain: boolean;
  /** Of `backfill` only: number of the backfill that read the row. */
  readonly backfillId?: string;
}
