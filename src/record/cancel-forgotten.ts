import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import { cancelledRows } from "./cancelled-rows.ts";
import { releaseLanes, type LaneChange } from "./release-lanes.ts";

/**
 * Takes out of the queue, each with its log row, what an earlier process was to end with a request that was under way and did not live
 * to see: deliveries of webhooks that are not in force any more, and those that somebody has cancelled.
 * @param trx in which the bridge's row is not locked yet
 * @param epoch of this process: one that was taken over does nothing
 */
export async function cancelForgotten(trx: Kysely<Database>, epoch: bigint): Promise<void> {
  const bridge = await trx.selectFrom("walhook.bridge").select("epoch").forUpdate().executeTakeFirstOrThrow();
  if (BigInt(bridge.epoch) !== epoch) return;
  await sql`
    with ${cancelledRows(
      sql`webhook_id not in (select f.webhook_id from walhook.webhook_in_force f)`,
      sql`'the webhook was deleted before this delivery could be made'`,
    )}
    select from gone`.execute(trx);
  const { rows } = await sql<Gone>`
    with ${cancelledRows(sql`cancelled_by is not null and not is_dead`, sql`cancelled_by || ' cancelled it'`)}
    select webhook_id, docname, old_docname, is_barrier from gone`.execute(trx);
  const changes: LaneChange[] = rows.map(({ webhook_id, docname, old_docname, is_barrier }) => ({
    delivery: { webhookId: webhook_id, docname, oldDocname: old_docname },
    isBarrier: is_barrier,
  }));
  await releaseLanes(trx, changes);
}

interface Gone {
  readonly webhook_id: number;
  readonly docname: string | null;
  readonly old_docname: string | null;
  readonly is_barrier: boolean;
}
