import { sql, type Kysely, type RawBuilder } from "kysely";
import type { Database } from "../db/schema.ts";

/**
 * Ends replays that are not over, and forgets what they would have sent.
 * @param which a condition on `walhook.replay_state`
 */
export async function stopReplays(trx: Kysely<Database>, which: RawBuilder<unknown>): Promise<void> {
  const { rows } = await sql<{ replay_id: string }>`
    update walhook.replay_state set state = 'stopped', ended_at = now()
    where ${which} and state in ('new', 'running') returning replay_id`.execute(trx);
  if (rows.length === 0) return;
  // A statement of its own: it sees what the replayer has chosen while the one before waited for it.
  await sql`
    delete from walhook.replay_item
    where replay_id = any(${rows.map(({ replay_id }) => replay_id)}::bigint[])`.execute(trx);
}
