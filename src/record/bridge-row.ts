import { sql, type Kysely } from "kysely";
import type { Gap } from "../slot/gap.ts";
import type { Position } from "../decode/position.ts";
import type { Database, WebhookDefinition } from "../db/schema.ts";
import { classify, EXIT_CODES, WalhookError } from "../errors.ts";
import { formatLsn, parseLsn, type Lsn } from "../replication/lsn.ts";

/** Where to go on, as the last checkpoint left it. */
export interface Resumption {
  readonly epoch: bigint;
  readonly position: Position;
  readonly flushLsn: Lsn;
  readonly inForce: ReadonlyMap<number, WebhookDefinition>;
}

/**
 * Takes over: raises the epoch, so that whoever ran before can write no checkpoint any more, and returns the
 * cursor and the webhooks in force as they stand then. To be called once START_REPLICATION has succeeded and
 * not before, because until then the process that had the slot may still commit a checkpoint.
 *
 * A process that froze amid a checkpoint holds the row: its connection is ended, since it has lost the slot.
 */
export async function takeOver(db: Kysely<Database>, version: string): Promise<Resumption> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await raiseEpoch(db, version);
    } catch (error) {
      if (classify(error).code !== "lock_timeout" || attempt === TAKE_OVER_ATTEMPTS) throw error;
      await endHolders(db);
    }
  }
}

/** Each waits a second for the row; a server under load takes its time to end a connection. */
const TAKE_OVER_ATTEMPTS = 5;

async function raiseEpoch(db: Kysely<Database>, version: string): Promise<Resumption> {
  return db.transaction().execute(async (trx) => {
    await sql`set local lock_timeout = '1s'`.execute(trx);
    const row = await trx
      .updateTable("walhook.bridge")
      .set({
        epoch: sql<string>`epoch + 1`,
        state: "running",
        version,
        last_error: null,
        remedy: null,
        stopped_lsn: null,
        started_at: sql<Date>`now()`,
        updated_at: sql<Date>`now()`,
      })
      .returning(["epoch", "cursor_commit_lsn", "cursor_change_lsn", "cursor_index", "flush_lsn"])
      .executeTakeFirstOrThrow();
    const definitions = await trx.selectFrom("walhook.webhook_in_force").select(["webhook_id", "definition"]).execute();
    return {
      epoch: BigInt(row.epoch),
      position: {
        commitLsn: parseLsn(row.cursor_commit_lsn ?? "0/0"),
        changeLsn: parseLsn(row.cursor_change_lsn ?? "0/0"),
        index: row.cursor_index ?? 0,
      },
      flushLsn: parseLsn(row.flush_lsn ?? "0/0"),
      inForce: new Map(definitions.map(({ webhook_id, definition }) => [webhook_id, definition])),
    };
  });
}

/** Ends connections of other bridges, by the beginning of their name, that are about to write the row. */
async function endHolders(db: Kysely<Database>): Promise<void> {
  await sql`
    select pg_terminate_backend(a.pid)
    from pg_catalog.pg_locks l
    join pg_catalog.pg_stat_activity a on a.pid = l.pid
    where l.relation = 'walhook.bridge'::regclass and l.granted and l.mode in ('RowShareLock', 'RowExclusiveLock')
      and a.datname = current_database() and a.usename = current_user and a.pid <> pg_backend_pid()
      and a.application_name ^@ current_setting('application_name')`.execute(db);
}

/** The end of a bridge whose place somebody else has taken. */
export function fencedError(epoch: bigint, ours: bigint): WalhookError {
  return new WalhookError(`another bridge has taken over (epoch ${epoch}, ours was ${ours})`, {
    code: "fenced",
    exitCode: EXIT_CODES.fenced,
    hint: "Nothing is lost: the other bridge goes on from the last checkpoint. Started again, this one waits for its turn.",
  });
}

/**
 * Shows that the bridge was stopped in order, and where it left the slot to the byte: a slot that is found farther was
 * moved by somebody else.
 * @param acknowledged what the slot was told last
 */
export async function showStopped(db: Kysely<Database>, epoch: bigint, acknowledged: Lsn): Promise<void> {
  const lsn = formatLsn(acknowledged);
  await ourRow(db, epoch)
    .set({
      state: sql<"stopped">`case when gap_kind is null then 'stopped' else 'gap' end`,
      stopped_lsn: lsn,
      flush_lsn: sql<string>`greatest(flush_lsn, ${lsn}::pg_lsn)`,
      updated_at: sql<Date>`now()`,
    })
    .execute();
}

/** Shows that a bridge ended without a session: what it was told last is not known. */
export async function showEnded(db: Kysely<Database>, epoch: bigint): Promise<void> {
  await ourRow(db, epoch)
    .set({ state: "stopped", updated_at: sql<Date>`now()` })
    .where("state", "=", "running")
    .execute();
}

/** Shows why the bridge ended, where a DBA looks. */
export async function showFailure(db: Kysely<Database>, epoch: bigint | null, error: unknown): Promise<void> {
  const { message, hint } = classify(error);
  await ourRow(db, epoch)
    .set({
      state: "failed",
      last_error: hint === null ? message : `${message} ${hint}`,
      last_error_at: sql<Date>`now()`,
      remedy: hint,
      updated_at: sql<Date>`now()`,
    })
    .execute();
}

/** Opens a gap: from then on no bridge starts before somebody has accepted it. One that is open stays as it is. */
export async function showGap(
  db: Kysely<Database>,
  epoch: bigint | null,
  gap: Gap,
  remedy: string | null,
): Promise<void> {
  await ourRow(db, epoch)
    .set({
      state: "gap",
      last_error: gap.message,
      last_error_at: sql<Date>`now()`,
      remedy,
      gap_kind: gap.kind,
      gap_from_lsn: gap.fromLsn === null ? null : formatLsn(gap.fromLsn),
      gap_to_lsn: gap.toLsn === null ? null : formatLsn(gap.toLsn),
      gap_needs_slot: gap.needsSlot,
      gap_detected_at: sql<Date>`now()`,
      updated_at: sql<Date>`now()`,
    })
    .where("gap_kind", "is", null)
    .execute();
}

/**
 * The row, for whom it belongs to: who had the slot last, by its epoch; who never had it (null) may write only while
 * nobody streams it.
 */
function ourRow(db: Kysely<Database>, epoch: bigint | null) {
  const row = db.updateTable("walhook.bridge");
  if (epoch !== null) return row.where("epoch", "=", epoch.toString());
  return row.where(
    sql<boolean>`not exists (select from pg_catalog.pg_replication_slots s where s.slot_name = bridge.slot_name and s.active)`,
  );
}
