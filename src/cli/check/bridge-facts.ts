import type pg from "pg";
import { findGap, findMovedSlot } from "../../slot/find-gap.ts";
import type { Gap } from "../../slot/gap.ts";
import { readGapFacts } from "../../slot/gap-facts.ts";

/** What Walhook's own tables say, and what the server says of the slot that they name. */
export interface BridgeFacts {
  readonly schemaVersion: number;
  readonly state: string;
  readonly lastError: string | null;
  readonly slotName: string | null;
  readonly slot: SlotFacts | null;
  /** Dead letters do not wait. */
  readonly queuedDeliveries: number;
  /** Why changes may be missing; null: they are not, or there is no slot yet, or the schema is of another version. */
  readonly gap: Gap | null;
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
  readonly slot_exists: boolean;
  readonly active: boolean | null;
  readonly wal_status: string | null;
  readonly retained_bytes: number | null;
  readonly lag_bytes: number | null;
  readonly queued: number;
}

const BRIDGE_FACTS = `
  select
    (select coalesce(max(version), 0)::integer from walhook.migration) as schema_version,
    bridge.state,
    bridge.last_error,
    bridge.slot_name,
    slot.slot_name is not null as slot_exists,
    slot.active,
    slot.wal_status,
    pg_wal_lsn_diff(position.lsn, slot.restart_lsn)::float8 as retained_bytes,
    pg_wal_lsn_diff(position.lsn, slot.confirmed_flush_lsn)::float8 as lag_bytes,
    (select count(*)::integer from walhook.webhook_queue as queue where not queue.is_dead) as queued
  from walhook.bridge
  cross join lateral (
    select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end as lsn
  ) as position
  left join pg_catalog.pg_replication_slots as slot on slot.slot_name = bridge.slot_name`;

/**
 * Reads them, or null where Walhook is not installed.
 * @param newestSchemaVersion of another version only what never changes is read
 */
export async function readBridgeFacts(client: pg.Client, newestSchemaVersion: number): Promise<BridgeFacts | null> {
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
    slot: row.slot_exists
      ? {
          isActive: row.active ?? false,
          walStatus: row.wal_status,
          retainedBytes: row.retained_bytes,
          lagBytes: row.lag_bytes,
        }
      : null,
    queuedDeliveries: row.queued,
    gap: row.schema_version === newestSchemaVersion && row.slot_name !== null ? await readGap(client) : null,
  };
}

async function readGap(client: pg.Client): Promise<Gap | null> {
  const facts = await readGapFacts(client);
  if (facts === null || facts.isInRecovery) return null;
  // While a bridge reads the slot, its place says nothing.
  const isRead = facts.slot.state === "ready" && facts.slot.activePid !== null;
  return findGap(facts) ?? (isRead ? null : findMovedSlot(facts, null));
}
