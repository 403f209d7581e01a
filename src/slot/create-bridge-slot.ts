import pg from "pg";
import { explain, WalhookError } from "../errors.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";
import { createSlot, dropSlot } from "../replication/slot.ts";
import { connect, connectionConfig, pinStatements } from "../db/connection.ts";
import { gapRemedy } from "./gap.ts";
import { missingPublications } from "./restore-publications.ts";
import { storeInForce } from "../db/store-in-force.ts";

/** What `ensureBridgeSlot` found or made. */
export type EnsuredSlot =
  /** The slot that `walhook.bridge` names is there. */
  | { readonly kind: "present"; readonly slotName: string }
  | {
      readonly kind: "created";
      readonly slotName: string;
      /** Transactions whose commit is at or behind it are sent. */
      readonly consistentPoint: Lsn;
      /** Webhooks in force at that point. */
      readonly webhooks: number;
      /** Slots of ours that nothing referred to any more, dropped first: of an interrupted install, or given up after a gap. */
      readonly replaced: readonly string[];
    }
  /** The slot that `walhook.bridge` names is gone: events are missing, and only a person can decide to go on. */
  | { readonly kind: "gap"; readonly slotName: string };

/** One at a time makes a slot: a lock that leaves no transaction open, for which a new slot would wait. */
export const SLOT_LOCK = "select pg_advisory_lock(hashtext('walhook.slot'))";

/**
 * Makes the bridge's slot where none was ever made, and records it with the configuration in force at its
 * consistent point. A slot that is recorded is never made anew, since the changes since then would be missed silently.
 * @param url a direct connection string: a pooler passes no replication commands
 * @throws WalhookError `wal_level_not_logical`, `slots_full`, `no_replication_right`, `publication_missing`, …
 */
export async function ensureBridgeSlot(url: string): Promise<EnsuredSlot> {
  const client = await connect(url, "walhook install");
  try {
    await client.query(SLOT_LOCK);
    const { slotName } = await readBridge(client);
    await requirePublications(client);
    if (slotName !== null) {
      const { rows } = await client.query("select from pg_catalog.pg_replication_slots where slot_name = $1", [
        slotName,
      ]);
      return { kind: rows.length > 0 ? "present" : "gap", slotName };
    }
    const replaced = await dropForgotten(client, null);
    return { kind: "created", replaced, ...(await createAndRecord(client, url, async () => {})) };
  } catch (error) {
    throw explain(error, "making the replication slot");
  } finally {
    await client.end();
  }
}

/** A slot of the next generation, on record. */
export interface CreatedSlot {
  readonly slotName: string;
  readonly consistentPoint: Lsn;
  readonly webhooks: number;
}

/**
 * Makes a slot of the next generation and records it, with the configuration in force at its consistent point. A
 * standby may take it over where the server knows how (PostgreSQL 17 and later).
 * @param client holds `SLOT_LOCK`, with no transaction open
 * @param alsoRecord what else belongs into the transaction that records it
 */
export async function createAndRecord(
  client: pg.Client,
  url: string,
  alsoRecord: (slot: { readonly slotName: string; readonly consistentPoint: Lsn }) => Promise<void>,
): Promise<CreatedSlot> {
  const connection = connectionConfig(url, "walhook install");
  const { generation, databaseOid } = await readBridge(client);
  const slotName = `walhook_${databaseOid}_${generation + 1}`;
  return createSlot({ connection, slotName, failover: true }, async ({ consistentPoint, snapshotName }) => {
    try {
      // What the snapshot shows is exactly what was committed before the consistent point.
      await client.query("begin isolation level repeatable read");
      await client.query(`set transaction snapshot ${pg.escapeLiteral(snapshotName)}`);
      await client.query(pinStatements("local"));
      const webhooks = await storeInForce(client);
      await alsoRecord({ slotName, consistentPoint });
      await client.query(RECORD_SLOT, [slotName, formatLsn(consistentPoint)]);
      await client.query("commit");
      return { slotName, consistentPoint, webhooks };
    } catch (error) {
      await client.query("rollback").catch(() => {});
      throw error;
    }
  });
}

/** The timeline stands in the name of the WAL file that is being written. */
const RECORD_SLOT = `
  update walhook.bridge set
    slot_name = $1, slot_generation = slot_generation + 1,
    system_identifier = (select system_identifier::text from pg_control_system()),
    timeline_id = ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer,
    database_oid = (select oid from pg_catalog.pg_database where datname = current_database()),
    cursor_commit_lsn = $2, cursor_change_lsn = '0/0', cursor_index = 0, flush_lsn = $2, stopped_lsn = $2,
    state = 'new', last_error = null, last_error_at = null, remedy = null, updated_at = now()`;

async function readBridge(
  client: pg.Client,
): Promise<{ readonly slotName: string | null; readonly generation: number; readonly databaseOid: string }> {
  const { rows } = await client.query<{ slot_name: string | null; slot_generation: number; oid: string }>(
    `select slot_name, slot_generation, database.oid::text
     from walhook.bridge, pg_catalog.pg_database as database where database.datname = current_database()`,
  );
  const [row] = rows;
  if (row === undefined)
    throw new WalhookError("walhook.bridge has no row", { code: "not_installed", hint: "Run `walhook install`." });
  return { slotName: row.slot_name, generation: row.slot_generation, databaseOid: row.oid };
}

/** Before 18, a slot older than its publication fails for ever; from 18 on it skips the changes silently. */
async function requirePublications(client: pg.Client): Promise<void> {
  const missing = await missingPublications(client);
  if (missing.length === 0) return;
  throw new WalhookError(`publication ${missing.join(" and ")} does not exist`, {
    code: "publication_missing",
    hint: `Somebody dropped it, and changes since then were not seen. ${gapRemedy("publication_missing")}`,
  });
}

/**
 * Drops earlier slots of this database, which would retain WAL for nobody. One that is in use the server refuses to drop.
 * @param kept the one that stays; null: none
 */
export async function dropForgotten(client: pg.Client, kept: string | null): Promise<readonly string[]> {
  const { rows } = await client.query<{ slot_name: string }>(
    `select s.slot_name::text
     from pg_catalog.pg_replication_slots as s
     join pg_catalog.pg_database as d on d.datname = s.database
     where d.datname = current_database() and s.slot_name ~ ('^walhook_' || d.oid || '_[0-9]+$')
       and s.slot_name is distinct from $1`,
    [kept],
  );
  for (const { slot_name } of rows) await dropSlot(client, slot_name);
  return rows.map((row) => row.slot_name);
}
