import { type Lsn, parseLsn } from "../replication/lsn.ts";
import type { Queryable } from "../db/queryable.ts";
import { readSlotStatus } from "../replication/slot.ts";
import type { SlotStatus } from "../replication/slot-status.ts";
import type { Gap, GapKind } from "./gap.ts";

/** What the database says about the slot on record, the place where the bridge left it, and the publications. */
export interface GapFacts {
  readonly versionNumber: number;
  /** A standby: nothing can be said of it, and nothing be done on it. */
  readonly isInRecovery: boolean;
  readonly slotName: string | null;
  readonly recordedSystem: string | null;
  readonly actualSystem: string;
  readonly recordedDatabase: number | null;
  readonly actualDatabase: number;
  /** Raised by each bridge that takes the slot over. */
  readonly epoch: bigint;
  /** End of the last transaction that is durably passed. */
  readonly flushLsn: Lsn | null;
  /** Where an orderly stop left the slot; null after a crash, and while a bridge runs. */
  readonly stoppedLsn: Lsn | null;
  /** Where the server's WAL ends; null on a standby. */
  readonly walLsn: Lsn | null;
  /** The slot on record; missing where none is. */
  readonly slot: SlotStatus;
  readonly publicationProblems: readonly PublicationProblem[];
  /** A gap that was found before, and that nobody has accepted yet. */
  readonly openGap: Gap | null;
}

/** A row of `walhook.publication_problems()`. */
export interface PublicationProblem {
  readonly kind: Extract<GapKind, "publication_missing" | "publication_changed" | "table_unpublished">;
  /** Whether changes of webhooks may be missing as well. */
  readonly isConfiguration: boolean;
  readonly problem: string;
}

/** The problems as a JSON array, in a stable order. */
export const PUBLICATION_PROBLEMS = `
  (select coalesce(jsonb_agg(jsonb_build_object(
            'kind', p.kind, 'isConfiguration', p.is_configuration, 'problem', p.problem) order by p.kind, p.problem), '[]'::jsonb)
   from walhook.publication_problems() as p)`;

const GAP_FACTS = `
  select
    current_setting('server_version_num')::integer as version_number,
    pg_is_in_recovery() as is_in_recovery,
    bridge.slot_name,
    bridge.system_identifier as recorded_system,
    (select c.system_identifier::text from pg_control_system() as c) as actual_system,
    bridge.database_oid::bigint::float8 as recorded_database,
    (select d.oid::bigint::float8 from pg_catalog.pg_database as d where d.datname = current_database()) as actual_database,
    bridge.epoch::text,
    bridge.flush_lsn::text,
    bridge.stopped_lsn::text,
    case when not pg_is_in_recovery() then pg_current_wal_lsn()::text end as wal_lsn,
    bridge.last_error,
    bridge.gap_kind,
    bridge.gap_from_lsn::text,
    bridge.gap_to_lsn::text,
    bridge.gap_needs_slot,
    bridge.gap_detected_at,
    ${PUBLICATION_PROBLEMS} as publication_problems
  from walhook.bridge `;

interface Row {
  readonly version_number: number;
  readonly is_in_recovery: boolean;
  readonly slot_name: string | null;
  readonly recorded_system: string | null;
  readonly actual_system: string;
  readonly recorded_database: number | null;
  readonly actual_database: number;
  readonly epoch: string;
  readonly flush_lsn: string | null;
  readonly stopped_lsn: string | null;
  readonly wal_lsn: string | null;
  readonly last_error: string | null;
  readonly gap_kind: GapKind | null;
  readonly gap_from_lsn: string | null;
  readonly gap_to_lsn: string | null;
  readonly gap_needs_slot: boolean | null;
  readonly gap_detected_at: Date | null;
  readonly publication_problems: readonly PublicationProblem[];
}

/** Asks the database; null where `walhook.bridge` has no row. Changes nothing. */
export async function readGapFacts(db: Queryable): Promise<GapFacts | null> {
  const { rows } = await db.query(GAP_FACTS);
  const row = rows[0] as Row | undefined;
  if (row === undefined) return null;
  return {
    versionNumber: row.version_number,
    isInRecovery: row.is_in_recovery,
    slotName: row.slot_name,
    recordedSystem: row.recorded_system,
    actualSystem: row.actual_system,
    recordedDatabase: row.recorded_database,
    actualDatabase: row.actual_database,
    epoch: BigInt(row.epoch),
    flushLsn: lsnOrNull(row.flush_lsn),
    stoppedLsn: lsnOrNull(row.stopped_lsn),
    walLsn: lsnOrNull(row.wal_lsn),
    slot: row.slot_name === null ? { state: "missing" } : await readSlotStatus(db, row.slot_name),
    publicationProblems: row.publication_problems,
    openGap: row.gap_kind === null ? null : openGap(row, row.gap_kind),
  };
}

function openGap(row: Row, kind: GapKind): Gap {
  return {
    kind,
    message: row.last_error ?? kind,
    fromLsn: lsnOrNull(row.gap_from_lsn),
    toLsn: lsnOrNull(row.gap_to_lsn),
    needsSlot: row.gap_needs_slot ?? true,
    recordedAt: row.gap_detected_at,
  };
}

function lsnOrNull(text: string | null): Lsn | null {
  return text === null ? null : parseLsn(text);
}
