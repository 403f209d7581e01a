import { sql, type Kysely } from "kysely";
import type { Position } from "../decode/position.ts";
import type { Database } from "../db/schema.ts";
import type { Definition } from "../match/in-force.ts";
import { parseLsn, type Lsn } from "../replication/lsn.ts";

/** Where to go on, as the last checkpoint left it. */
export interface Resumption {
  readonly epoch: bigint;
  readonly position: Position;
  readonly flushLsn: Lsn;
  readonly inForce: ReadonlyMap<number, Definition>;
}

/**
 * Takes over: raises the epoch, so that whoever ran before can write no checkpoint any more, and returns the
 * cursor and the webhooks in force as they stand then. To be called once START_REPLICATION has succeeded and
 * not before, because until then the process that had the slot may still commit a checkpoint.
 */
export async function takeOver(db: Kysely<Database>, version: string): Promise<Resumption> {
  return db.transaction().execute(async (trx) => {
    const row = await trx
      .updateTable("walhook.bridge")
      .set({
        epoch: sql<string>`epoch + 1`,
        state: "running",
        version,
        last_error: null,
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

/** Shows a DBA what the bridge is doing; for changes of state only, since an idle bridge writes nothing. */
export async function showState(
  db: Kysely<Database>,
  state: "running" | "stopped" | "waiting" | "failed",
  lastError: string | null = null,
): Promise<void> {
  await db
    .updateTable("walhook.bridge")
    .set({
      state,
      updated_at: sql<Date>`now()`,
      ...(lastError === null ? {} : { last_error: lastError, last_error_at: sql<Date>`now()` }),
    })
    .execute();
}
