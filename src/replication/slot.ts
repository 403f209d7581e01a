import pg from "pg";
import type { Queryable } from "../db/queryable.ts";
import { WalhookError } from "../errors.ts";
import { quoteSlotName } from "./identifiers.ts";
import { type Lsn, parseLsn } from "./lsn.ts";
import { replicationClientConfig, stripQueryTimeout } from "./session.ts";
import { type SlotRow, type SlotStatus, judgeSlot } from "./slot-status.ts";

/** Where a new slot begins. */
export interface NewSlot {
  /** Transactions that commit after this LSN are streamed, and no others. */
  readonly consistentPoint: Lsn;
  /** Shows exactly the transactions before it: `set transaction snapshot '…'` in a repeatable read transaction. */
  readonly snapshotName: string;
}

export interface CreateSlotOptions {
  readonly connection: pg.ClientConfig;
  readonly slotName: string;
  /** Let a standby take the slot over (PostgreSQL 17 and later; ignored before). Default false. */
  readonly failover?: boolean;
  /** How long to wait for transactions that were open before, in milliseconds. Default 30,000. */
  readonly timeoutMs?: number;
}

/**
 * Creates a slot for pgoutput and calls `use` while the snapshot of its first moment can still be imported.
 * Publications have to exist before: what was written before a publication is not seen through it, for ever.
 *
 * A slot begins once every transaction that is open now has ended. After `timeoutMs` it is given up, nothing is
 * left behind, and the error (`slot_creation_blocked`) names the process that holds it up. Where `use` rejects,
 * the slot is dropped and its error passed on.
 */
export async function createSlot<T>(options: CreateSlotOptions, use: (slot: NewSlot) => Promise<T> | T): Promise<T> {
  const slotName = quoteSlotName(options.slotName);
  const client = await connect(options.connection);
  let isCreated = false;
  try {
    const { rows } = await client.query<{ version: number; pid: number }>(
      "select current_setting('server_version_num')::int as version, pg_backend_pid() as pid",
    );
    const { version = 0, pid = 0 } = rows[0] ?? {};
    // The snapshot lives in a transaction that stays idle while `use` runs.
    await client.query("set idle_in_transaction_session_timeout = 0");
    const command = `CREATE_REPLICATION_SLOT ${slotName} LOGICAL pgoutput ${slotOptions(version, options.failover)}`;
    const slot = await withinOrExplain(client.query<Created>(command), pid, options);
    isCreated = true;
    const created = slot.rows[0];
    if (created === undefined) throw new Error("CREATE_REPLICATION_SLOT returned no row");
    return await use({
      consistentPoint: parseLsn(created.consistent_point),
      snapshotName: created.snapshot_name,
    });
  } catch (error) {
    if (isCreated) await client.query(`DROP_REPLICATION_SLOT ${slotName}`).catch(() => {});
    throw error;
  } finally {
    await client.end();
  }
}

/** Drops a slot; false where there is none. Rejects with 55006 where it is in use. */
export async function dropSlot(db: Queryable, slotName: string): Promise<boolean> {
  const { rows } = await db.query(
    `select pg_catalog.pg_drop_replication_slot(slot_name)
     from pg_catalog.pg_replication_slots where slot_name = $1`,
    [slotName],
  );
  return rows.length > 0;
}

/** What state a slot is in. Works on every version: columns that it does not have are null. */
export async function readSlotStatus(db: Queryable, slotName: string): Promise<SlotStatus> {
  const { rows } = await db.query(
    `select
       s.slot_name, s.plugin, s.slot_type, s.database, s.temporary, s.active_pid,
       s.restart_lsn::pg_catalog.text as restart_lsn,
       s.confirmed_flush_lsn::pg_catalog.text as confirmed_flush_lsn,
       s.wal_status,
       pg_catalog.to_jsonb(s) ->> 'invalidation_reason' as invalidation_reason,
       (pg_catalog.to_jsonb(s) ->> 'conflicting')::pg_catalog.bool as conflicting,
       pg_catalog.current_database() as current_database,
       case when not pg_catalog.pg_is_in_recovery() then
         pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::pg_catalog.text
       end as retained_bytes,
       s.safe_wal_size::pg_catalog.text as safe_bytes
     from pg_catalog.pg_replication_slots as s
     where s.slot_name = $1`,
    [slotName],
  );
  return judgeSlot((rows[0] as SlotRow | undefined) ?? null);
}

interface Created {
  readonly consistent_point: string;
  readonly snapshot_name: string;
}

/** The options' syntax changed with 15; the old one knows no FAILOVER. */
function slotOptions(version: number, failover: boolean | undefined): string {
  if (version < 150_000) return "EXPORT_SNAPSHOT";
  return `(SNAPSHOT 'export'${failover === true && version >= 170_000 ? ", FAILOVER true" : ""})`;
}

async function connect(connection: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(replicationClientConfig(connection));
  // A connection that breaks rejects the query under way; without a listener it would end the process as well.
  client.on("error", () => {});
  await client.connect();
  stripQueryTimeout(client);
  return client;
}

/** statement_timeout does not reach replication commands, and a closed connection would leave the server waiting. */
async function withinOrExplain<T>(creation: Promise<T>, pid: number, options: CreateSlotOptions): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => {
    timer = setTimeout(() => resolve("late"), timeoutMs);
  });
  const first = await Promise.race([creation.then((result) => ({ result })), late]).finally(() => clearTimeout(timer));
  if (first !== "late") return first.result;
  creation.catch(() => {});
  const blockers = await breakOff(options.connection, pid);
  throw new WalhookError(
    `creating slot ${options.slotName} waited ${timeoutMs} ms for transactions that were open before it: ${blockers}`,
    {
      code: "slot_creation_blocked",
      kind: "retry",
      hint: "End that transaction (commit it, or select pg_terminate_backend(pid)), then try again.",
    },
  );
}

/** Ends the creating process, which removes its unfinished slot, and says what it waited for. */
async function breakOff(connection: pg.ClientConfig, pid: number): Promise<string> {
  const client = new pg.Client(connection);
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ blocker: string }>(
      `select pg_catalog.format('process %s (%s, user %s, open since %s)', a.pid, a.application_name, a.usename, a.xact_start) as blocker
       from pg_catalog.pg_stat_activity as a
       where a.pid = any (pg_catalog.pg_blocking_pids($1))
       union all
       select pg_catalog.format('prepared transaction %L (of %s, prepared at %s)', p.gid, p.owner, p.prepared)
       from pg_catalog.pg_locks as mine
       join pg_catalog.pg_prepared_xacts as p on p.transaction = mine.transactionid
       where mine.pid = $1 and not mine.granted`,
      [pid],
    );
    await client.query("select pg_catalog.pg_terminate_backend($1)", [pid]);
    return rows.map(({ blocker }) => blocker).join(", ") || "unknown";
  } catch (error) {
    return `unknown (${String(error)})`;
  } finally {
    await client.end();
  }
}
