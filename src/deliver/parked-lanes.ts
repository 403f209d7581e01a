import type { Kysely } from "kysely";
import { sql } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Delivery } from "../render/delivery.ts";

/** The lanes of a chunk that the queue table holds something of. */
export interface ParkedLanes {
  /** Whether a delivery has to go behind something in the queue. */
  blocks(delivery: Delivery): boolean;
}

/** Asks the queue, in one statement, which lanes of these deliveries are parked. */
export async function findParkedLanes(db: Kysely<Database>, deliveries: readonly Delivery[]): Promise<ParkedLanes> {
  const webhookIds = [...new Set(deliveries.map(({ webhookId }) => webhookId))];
  const docnames = [...new Set(deliveries.flatMap(({ docname, oldDocname }) => [docname, oldDocname]))].filter(
    (name) => name !== null,
  );
  // One SELECT for each of its indexes: together they would read all that the webhook has in the queue.
  const { rows } = await sql<LaneRow>`
    select q.webhook_id, q.docname, false as is_barrier from walhook.webhook_queue q
    where q.webhook_id = any(${webhookIds}::integer[]) and q.docname = any(${docnames}::text[])
      and q.is_ordered and (not q.is_dead or q.holds_lane)
    union
    select q.webhook_id, q.old_docname, false from walhook.webhook_queue q
    where q.webhook_id = any(${webhookIds}::integer[]) and q.old_docname = any(${docnames}::text[])
      and q.is_ordered and (not q.is_dead or q.holds_lane)
    union
    select q.webhook_id, null, true from walhook.webhook_queue q
    where q.webhook_id = any(${webhookIds}::integer[]) and q.is_barrier
      and q.is_ordered and (not q.is_dead or q.holds_lane)`.execute(db);
  const lanes = new Set<string>();
  const barriers = new Set<number>();
  for (const { webhook_id, docname, is_barrier } of rows) {
    if (is_barrier) barriers.add(webhook_id);
    if (docname !== null) lanes.add(`${webhook_id} ${docname}`);
  }
  return {
    blocks: ({ webhookId, docname, oldDocname, docevent, isOrdered }) =>
      isOrdered &&
      (barriers.has(webhookId) ||
        // Its webhook has rows in the queue, or nobody would have asked: a TRUNCATE goes behind all of them.
        docevent === "on_truncate" ||
        (docname !== null && lanes.has(`${webhookId} ${docname}`)) ||
        (oldDocname !== null && lanes.has(`${webhookId} ${oldDocname}`))),
  };
}

interface LaneRow {
  readonly webhook_id: number;
  /** The lane; null of a barrier, which stands in all. */
  readonly docname: string | null;
  readonly is_barrier: boolean;
}
