import { sql, type Kysely } from "kysely";
import type { Progress } from "../backfill/progress.ts";
import type { Database } from "../db/schema.ts";

/** How far backfills are, in the checkpoint that makes their deliveries durable; the last of each counts. */
export async function writeBackfills(trx: Kysely<Database>, progresses: readonly Progress[]): Promise<void> {
  const last = new Map(progresses.map((progress) => [progress.backfillId, progress]));
  for (const { backfillId, lastKey, pending, rowsDone, rowsSent } of last.values()) {
    await sql`
      update walhook.backfill_state
      set last_key = ${JSON.stringify(lastKey)}::json, pending = ${JSON.stringify(pending)}::json, rows_done = ${rowsDone},
          rows_sent = ${rowsSent}, error = null, updated_at = clock_timestamp()
      where backfill_id = ${backfillId}`.execute(trx);
  }
}
