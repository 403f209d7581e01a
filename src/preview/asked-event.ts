import type { Queryable } from "../db/queryable.ts";
import { createCatalog } from "../decode/catalog.ts";
import type { Relation } from "../decode/relation.ts";
import type { Row, RowChange } from "../decode/row-change.ts";
import type { DocEvent } from "../events/doc-event.ts";
import { docEvents } from "../events/doc-events.ts";
import { docname } from "../events/docname.ts";
import { parseLsn } from "../replication/lsn.ts";
import type { AskedRow, PreviewQuestion } from "./preview-question.ts";

/** A table as a Relation message and the catalog would describe it. */
export function describeAsked(db: Queryable, { relation }: PreviewQuestion): Promise<Relation> {
  return createCatalog(db).describeRelation({
    tag: "relation",
    oid: relation.oid,
    schema: relation.schema,
    name: relation.name,
    identity: "f",
    columns: relation.columns.map((column) => ({ ...column, isKey: false, typeModifier: -1 })),
  });
}

/** The doc event that is asked about. */
export interface AskedEvent {
  readonly event: DocEvent;
  /** False where such a change of this row would not be that event. */
  readonly happens: boolean;
}

/** Makes the change of which the event is asked, as the stream would tell it. */
export function toAskedEvent(question: PreviewQuestion, asked: AskedRow, relation: Relation): AskedEvent {
  const change = toChange(question, asked, relation);
  const found = docEvents(change).find(({ name }) => name === question.event);
  if (found !== undefined) return { event: found, happens: true };
  const row = asked.row ?? [];
  const event = { name: question.event, change, docname: docname(relation, row), oldDocname: null, isCertain: true };
  return { event, happens: false };
}

function toChange(question: PreviewQuestion, asked: AskedRow, relation: Relation): RowChange {
  const commitLsn = parseLsn(question.lsn);
  const place = {
    transaction: {
      commitLsn,
      commitTimeUs: BigInt(question.commitTimeUs),
      xid: question.xid ?? asked.xid ?? 0,
    },
    position: { commitLsn, changeLsn: commitLsn, index: 0 },
    relation,
  };
  const { row, old = row } = asked;
  if (row === null || old === null) return { ...place, kind: "truncate" };
  if (question.event === "on_trash") return { ...place, kind: "delete", old: knownBefore(asked, old, relation) };
  // What is new has changed, too: without a row before, that is the change which is meant.
  const isInsert = question.event === "after_insert" || (question.event === "on_change" && !question.hasOld);
  if (isInsert) return { ...place, kind: "insert", new: row };
  return { ...place, kind: "update", new: row, old: oldOfUpdate(asked, row, old, relation) };
}

/** What the stream carries of a row before: all of it, or the columns of the replica identity. */
function knownBefore({ identity, identityColumns = [] }: AskedRow, old: Row, relation: Relation): Row {
  if (identity === "f") return old;
  return old.map((text, index) => (identityColumns.includes(relation.columns[index]?.name ?? "") ? text : undefined));
}

/** Without FULL the row before is only there where its key changed. */
function oldOfUpdate(asked: AskedRow, row: Row, old: Row, relation: Relation): Row | null {
  const known = knownBefore(asked, old, relation);
  const isTold = asked.identity === "f" || known.some((text, index) => text !== undefined && text !== row[index]);
  return isTold ? known : null;
}
