import type { Lsn } from "../replication/lsn.ts";
import type { ConfigurationTable } from "./configuration-tables.ts";
import type { Position } from "./position.ts";
import type { RowChange } from "./row-change.ts";

/** One changed row of a configuration table: column name to Postgres text. */
export interface ConfigurationChange {
  readonly table: ConfigurationTable;
  readonly kind: "insert" | "update" | "delete";
  /** The row after the change; for a delete the row before it. */
  readonly row: Readonly<Record<string, string | null>>;
}

/** The unit that flows through the pipe: what was there, up to a bound. */
export interface Chunk {
  readonly changes: readonly RowChange[];
  /**
   * The configuration changes of the transaction whose Commit ends this chunk. They act on everything
   * after the chunk and on nothing in it. Nothing is ever merged behind such a chunk.
   */
  readonly configuration: readonly ConfigurationChange[];
  /** The last place this chunk covers (after a Commit: that transaction whole). */
  readonly position: Position;
  /** End of the last transaction passed whole at the end of this chunk, or a keepalive's LSN: safe to acknowledge. */
  readonly flushLsn: Lsn;
  /** What its frames count for back-pressure, see `weightOf`. */
  readonly bytes: number;
}

/** A place after every change of the transaction with this commit LSN. */
export function endOfTransaction(commitLsn: Lsn): Position {
  return { commitLsn, changeLsn: 0xffff_ffff_ffff_ffffn, index: 0 };
}
