import { type Lsn, parseLsn } from "./lsn.ts";

/** A row of `pg_replication_slots`, with what later versions added as null before them. */
export interface SlotRow {
  readonly slot_name: string;
  readonly plugin: string | null;
  readonly slot_type: string;
  readonly database: string | null;
  readonly temporary: boolean;
  readonly active_pid: number | null;
  readonly restart_lsn: string | null;
  readonly confirmed_flush_lsn: string | null;
  /** reserved, extended, unreserved or lost. */
  readonly wal_status: string | null;
  /** Since 17: wal_removed, rows_removed, wal_level_insufficient or idle_timeout. */
  readonly invalidation_reason: string | null;
  /** Since 16. */
  readonly conflicting: boolean | null;
  /** The database that was asked in. */
  readonly current_database: string;
  /** WAL that is kept because of the slot, in bytes. */
  readonly retained_bytes: string | null;
  /** WAL that can still be written before the slot is in danger of being lost; null: no limit. */
  readonly safe_bytes: string | null;
}

/** Whether a slot can be streamed, and if not, why. */
export type SlotStatus =
  | { readonly state: "missing" }
  /** It exists, but is of another kind, plugin or database: not ours. */
  | { readonly state: "foreign"; readonly reason: string }
  /** The server has given up on it: changes are gone. `reason` as the server names it. */
  | { readonly state: "lost"; readonly reason: string }
  /** Its creation is under way, or was broken off. */
  | { readonly state: "unready"; readonly activePid: number | null }
  | {
      readonly state: "ready";
      readonly confirmedFlushLsn: Lsn;
      /** The server process that streams it now, or null. */
      readonly activePid: number | null;
      /** reserved, extended, or unreserved: close to being lost. */
      readonly walStatus: string;
      readonly retainedBytes: number | null;
      readonly safeBytes: number | null;
    };

/** Decides what a slot's row means. A lost slot can still show a restart LSN, so only status and reason count. */
export function judgeSlot(row: SlotRow | null): SlotStatus {
  if (row === null) return { state: "missing" };
  const foreign = foreignness(row);
  if (foreign !== null) return { state: "foreign", reason: foreign };
  if (row.wal_status === "lost" || row.invalidation_reason !== null || row.conflicting === true) {
    return {
      state: "lost",
      reason: row.invalidation_reason ?? (row.conflicting === true ? "conflict" : "wal_removed"),
    };
  }
  if (row.confirmed_flush_lsn === null) return { state: "unready", activePid: row.active_pid };
  return {
    state: "ready",
    confirmedFlushLsn: parseLsn(row.confirmed_flush_lsn),
    activePid: row.active_pid,
    walStatus: row.wal_status ?? "reserved",
    retainedBytes: row.retained_bytes === null ? null : Number(row.retained_bytes),
    safeBytes: row.safe_bytes === null ? null : Number(row.safe_bytes),
  };
}

function foreignness(row: SlotRow): string | null {
  if (row.slot_type !== "logical") return `it is a ${row.slot_type} slot`;
  if (row.plugin !== "pgoutput") return `its output plugin is ${row.plugin}`;
  if (row.database !== row.current_database) return `it belongs to database ${row.database}`;
  return row.temporary ? "it is a temporary slot" : null;
}
