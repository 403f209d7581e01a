import type pg from "pg";

/** What Walhook's own tables say, and what the server says of the slot that they name. */
export interface BridgeFacts {
  readonly schemaVersion: number;
  readonly state: string;
  readonly lastError: string | null;
  readonly slotName: string | null;
  /** Whether the server is the one on which the slot was made: false after a restore or on a copy. Null: no slot yet. */
  readonly isSameSystem: boolean | null;
  readonly isSameDatabase: boolean | null;
  readonly slot: SlotFacts | null;
  readonly queuedDeliveries: number;
  /** Names of Walhook's publications that exist. */
  readonly publications: readonly string[];
}

export interface SlotFacts {
  readonly isActive: boolean;
  /** reserved, extended, unreserved or lost. */
  readonly walStatus: string | null;
  /** WAL that the server keeps for the slot. */
  readonly retainedBytes: number | null;
  /** WAL that the bridge has not acknowledged. */
  readonly lagBytes: number | null;
}

interface Row {
  readonly schema_version: number;
  readonly state: string;
  readonly last_error: string | null;
  readonly slot_name: string | null;
  readonly is_same_system: boolean | null;
  readonly is_same_database: boolean | null;
  readonly slot_exists: boolean;
  readonly active: boolean | null;
  readonly wal_status: string | null;
  readonly retained_bytes: number | null;
  readonly lag_bytes: number | null;
  readonly queued: number;
  readonly publications: readonly string[];
}

const BRIDGE_FACTS = `
  select
    (select coalesce(max(version), 0)::integer from walhook.migration) as schema_version,
    bridge.state,
    bridge.last_error,
    bridge.slot_name,
    bridge.system_identifier = (select system_identifier::text from pg_control_system()) as is_same_system,
    bridge.database_oid = (select oid from pg_catalog.pg_database where datname = current_database()) as is_same_database,
    slot.slot_name is not null as slot_exists,
    slot.active,
    slot.wal_status,
    pg_wal_lsn_diff(position.lsn, slot.restart_lsn)::float8 as retained_bytes,
    pg_wal_lsn_diff(position.lsn, slot.confirmed_flush_lsn)::float8 as lag_bytes,
    (select count(*)::integer from walhook.webhook_queue) as queued,
    array(
      select pubname::text from pg_catalog.pg_publication where pubname in ('walhook_insert', 'walhook_all') order by 1
    ) as publications
  from walhook.bridge
  cross join lateral (
    select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end as lsn
  ) as position
  left join pg_catalog.pg_replication_slots as slot on slot.slot_name = bridge.slot_name`;

/** Reads them, or null where Walhook is not installed. */
export async function readBridgeFacts(client: pg.Client): Promise<BridgeFacts | null> {
  const installed = await client.query<{ found: boolean }>("select to_regclass('walhook.bridge') is not null as found");
  if (installed.rows[0]?.found !== true) return null;
  const { rows } = await client.query<Row>(BRIDGE_FACTS);
  const [row] = rows;
  if (row === undefined) return null;
  return {
    schemaVersion: row.schema_version,
    state: row.state,
    lastError: row.last_error,
    slotName: row.slot_name,
    isSameSystem: row.is_same_system,
    isSameDatabase: row.is_same_database,
    slot: row.slot_exists
      ? {
          isActive: row.active ?? false,
          walStatus: row.wal_status,
          retainedBytes: row.retained_bytes,
          lagBytes: row.lag_bytes,
        }
      : null,
    queuedDeliveries: row.queued,
    publications: row.publications,
  };
}
