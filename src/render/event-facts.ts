import type { Row, RowChange, Transaction } from "../decode/row-change.ts";
import { changedColumns } from "../events/changed-columns.ts";
import type { DocEvent } from "../events/doc-event.ts";
import { rowAfter } from "../events/row-after.ts";
import { formatLsn } from "../replication/lsn.ts";
import { isoCommitTime } from "./commit-time.ts";

/** What every body may say of a change, made once a change. */
export interface EventFacts {
  /** The document; null for a truncate. */
  readonly doc: Row | null;
  /** The row before an update, where the WAL carries it (of a delete, `doc` is that row). */
  readonly old: Row | null;
  /** Names of the columns that an update changed; null for other changes and where that is not wholly known. */
  readonly changed: readonly string[] | null;
  /** Columns that `doc` does not have because an update did not change them (TOAST). */
  readonly unchanged: readonly string[];
  /** Columns that `doc` does not have for any other reason: generated, too long, a row before that is known in part. */
  readonly omitted: readonly string[];
  /** Commit LSN as Postgres writes it. */
  readonly lsn: string;
  readonly xid: number;
  /** ISO 8601 with microseconds, UTC. */
  readonly commitTime: string;
}

let lastChange: RowChange | null = null;
let facts: EventFacts | null = null;

/** The facts of an event's change. Its events and webhooks come one after the other, so the last change's are kept. */
export function eventFacts({ change }: DocEvent): EventFacts {
  if (facts === null || change !== lastChange) {
    facts = readFacts(change);
    lastChange = change;
  }
  return facts;
}

function readFacts(change: RowChange): EventFacts {
  const { transaction } = change;
  const doc = rowAfter(change);
  return {
    doc,
    old: change.kind === "update" ? change.old : null,
    changed: change.kind === "update" ? changedNames(change) : null,
    ...(doc === null ? { unchanged: [], omitted: [] } : absentColumns(change, doc)),
    ...transactionFacts(transaction),
  };
}

let lastTransaction: Transaction | null = null;
let lastFacts: Pick<EventFacts, "lsn" | "xid" | "commitTime"> = { lsn: "", xid: 0, commitTime: "" };

/** A transaction's changes come one after the other, so the last one is worth remembering. */
function transactionFacts(transaction: Transaction): typeof lastFacts {
  if (transaction !== lastTransaction) {
    lastTransaction = transaction;
    const { commitLsn, commitTimeUs, xid } = transaction;
    lastFacts = { lsn: formatLsn(commitLsn), xid, commitTime: isoCommitTime(commitTimeUs) };
  }
  return lastFacts;
}

function changedNames(change: RowChange & { readonly kind: "update" }): readonly string[] | null {
  if (change.old === null) return null;
  const { names, isComplete } = changedColumns(change);
  return isComplete ? names : null;
}

function absentColumns({ kind, relation, oversized }: RowChange, doc: Row): Pick<EventFacts, "unchanged" | "omitted"> {
  if (!doc.includes(undefined)) return { unchanged: [], omitted: relation.omitted };
  const absent = relation.columns
    .map(({ name }, index) => ({ name, index }))
    .filter(({ index }) => doc[index] === undefined);
  const isUnchanged = ({ index }: { readonly index: number }): boolean =>
    kind === "update" && oversized?.includes(index) !== true;
  const names = (columns: typeof absent): string[] => columns.map(({ name }) => name);
  return {
    unchanged: names(absent.filter(isUnchanged)),
    omitted: [...names(absent.filter((column) => !isUnchanged(column))), ...relation.omitted],
  };
}
