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
  const rows = await db
    .selectFrom("walhook.webhook_queue")
    .select(["webhook_id", "docname", "old_docname", "is_barrier"])
    .distinct()
    .where("webhook_id", "=", sql<number>`any(${webhookIds})`)
    .where("is_ordered", "=", true)
    .where((eb) => eb.or([eb("is_dead", "=", false), eb("holds_lane", "=", true)]))
    .where((eb) =>
      eb.or([
        eb("docname", "=", sql<string>`any(${docnames})`),
        eb("old_docname", "=", sql<string>`any(${docnames})`),
        eb("is_barrier", "=", true),
      ]),
    )
    .execute();
  const lanes = new Set<string>();
  const barriers = new Set<number>();
  for (const { webhook_id, docname, old_docname, is_barrier } of rows) {
    if (is_barrier) barriers.add(webhook_id);
    if (docname !== null) lanes.add(`${webhook_id} ${docname}`);
    if (old_docname !== null) lanes.add(`${webhook_id} ${old_docname}`);
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
