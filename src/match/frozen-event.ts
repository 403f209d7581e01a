import type { Position } from "../decode/position.ts";
import type { Relation } from "../decode/relation.ts";
import type { Row, RowChange, Transaction } from "../decode/row-change.ts";
import type { DocEvent } from "../events/doc-event.ts";

/** A value that the WAL does not carry. JSON has no `undefined`, and values are texts or null. */
const UNKNOWN = 0;
type FrozenRow = readonly (string | null | typeof UNKNOWN)[];

interface FrozenEvent {
  readonly name: DocEvent["name"];
  readonly docname: string | null;
  readonly oldDocname: string | null;
  readonly kind: RowChange["kind"];
  readonly relation: Relation;
  readonly new: FrozenRow | null;
  readonly old: FrozenRow | null;
  readonly oversized?: readonly number[];
}

/** A doc event with its raw change as JSON text, for `webhook_queue.change`. Place and transaction have columns of their own. */
export function freezeEvent({ name, docname, oldDocname, change }: DocEvent): string {
  const frozen: FrozenEvent = {
    name,
    docname,
    oldDocname,
    kind: change.kind,
    relation: change.relation,
    new: change.kind === "insert" || change.kind === "update" ? freezeRow(change.new) : null,
    ...(change.oversized === undefined ? {} : { oversized: change.oversized }),
    old: (change.kind === "update" && change.old !== null) || change.kind === "delete" ? freezeRow(change.old!) : null,
  };
  return JSON.stringify(frozen);
}

/** The event again, as it was when it was frozen. Only certain events are ever frozen. */
export function thawEvent(text: string, transaction: Transaction, position: Position): DocEvent {
  const { name, docname, oldDocname, ...frozen } = JSON.parse(text) as FrozenEvent;
  return { name, docname, oldDocname, isCertain: true, change: thawChange(frozen, transaction, position) };
}

function thawChange(
  frozen: Pick<FrozenEvent, "kind" | "relation" | "new" | "old" | "oversized">,
  transaction: Transaction,
  position: Position,
): RowChange {
  const { relation, oversized } = frozen;
  const place = { transaction, position, relation, ...(oversized === undefined ? {} : { oversized }) };
  switch (frozen.kind) {
    case "insert":
      return { ...place, kind: "insert", new: thawRow(frozen.new ?? []) };
    case "update":
      return {
        ...place,
        kind: "update",
        new: thawRow(frozen.new ?? []),
        old: frozen.old === null ? null : thawRow(frozen.old),
      };
    case "delete":
      return { ...place, kind: "delete", old: thawRow(frozen.old ?? []) };
    case "truncate":
      return { ...place, kind: "truncate" };
    default:
      return frozen.kind satisfies never;
  }
}

function freezeRow(row: Row): FrozenRow {
  return row.map((value) => (value === undefined ? UNKNOWN : value));
}

function thawRow(row: FrozenRow): Row {
  return row.map((value) => (value === UNKNOWN ? undefined : value));
}
