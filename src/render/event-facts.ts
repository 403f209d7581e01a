import type { Row, RowChange } from "../decode/row-change.ts";
import { changedColumns } from "../events/changed-columns.ts";
import type { DocEvent } from "../events/doc-event.ts";
import { rowAfter } from "../events/row-after.ts";
import { formatLsn } from "../replication/lsn.ts";
import { isoCommitTime } from "./commit-time.ts";
import { unchangedColumns } from "./doc-json.ts";

/** What every body may say of a change, made once a change. */
export interface EventFacts {
  /** The document; null for a truncate. */
  readonly doc: Row | null;
  /**
   * The row before: of an update and of a delete, where the WAL carries it. "none" where there was none,
   * "unknown" where there was one and the WAL says nothing of it.
   */
  readonly old: Row | "none" | "unknown";
  /** Names of the columns that an update changed; null for other changes and where that is not wholly known. */
  readonly changed: readonly string[] | null;
  /** Columns of `doc` that the WAL does not carry because they did not change. */
  readonly unchanged: readonly string[];
  /** Commit LSN as Postgres writes it. */
  readonly lsn: string;
  readonly xid: number;
  /** ISO 8601 with microseconds, UTC. */
  readonly commitTime: string;
}

const known = new WeakMap<RowChange, EventFacts>();

/** The facts of an event's change. */
export function eventFacts({ change }: DocEvent): EventFacts {
  let facts = known.get(change);
  if (facts === undefined) {
    facts = readFacts(change);
    known.set(change, facts);
  }
  return facts;
}

function readFacts(change: RowChange): EventFacts {
  const { transaction, relation } = change;
  const doc = rowAfter(change);
  return {
    doc,
    old: rowBefore(change),
    changed: change.kind === "update" ? changedNames(change) : null,
    unchanged: doc === null ? [] : unchangedColumns(relation, doc),
    lsn: formatLsn(transaction.commitLsn),
    xid: transaction.xid,
    commitTime: isoCommitTime(transaction.commitTimeUs),
  };
}

function rowBefore(change: RowChange): Row | "none" | "unknown" {
  if (change.kind === "update") return change.old ?? "unknown";
  return change.kind === "delete" ? change.old : "none";
}

function changedNames(change: RowChange & { readonly kind: "update" }): readonly string[] | null {
  if (change.old === null) return null;
  const { names, isComplete } = changedColumns(change);
  return isComplete ? names : null;
}
