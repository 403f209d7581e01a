import { sql, type Kysely, type RawBuilder } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Ticket } from "../deliver/ticket.ts";
import type { Delivery } from "../render/delivery.ts";
import type { CheckpointPlan, QueueState } from "./checkpoint-plan.ts";

/** Who left a lane, or was added to it. */
export interface LaneChange {
  readonly delivery: Pick<Delivery, "webhookId" | "docname" | "oldDocname">;
  readonly isBarrier: boolean;
}

/** What stands in a lane that something left, or that something blocked was added to. */
export function lanesToRelease(plan: Pick<CheckpointPlan, "enqueue" | "requeue" | "dequeue">): Ticket[] {
  const isBlocked = ({ dueAtMs, isSending }: QueueState): boolean => !isSending && dueAtMs === null;
  return [
    ...plan.dequeue,
    ...plan.requeue
      .filter((state) => !state.holdsLane && (state.isDead || isBlocked(state)))
      .map(({ ticket }) => ticket),
    ...plan.enqueue.filter((state) => !state.holdsLane && isBlocked(state)).map(({ ticket }) => ticket),
  ].filter(({ delivery }) => delivery.isOrdered);
}

/**
 * Makes the next delivery of each of these lanes due, where nothing before it is open. A row of
 * the queue with `due_at` null is blocked; it becomes due only here, in the transaction that ends or
 * adds something in its lane, so that nobody has to look for heads of lanes in a long queue.
 */
export async function releaseLanes(trx: Kysely<Database>, changes: readonly LaneChange[]): Promise<void> {
  if (changes.length === 0) return;
  const webhookIds: number[] = [];
  const docnames: string[] = [];
  const wholeWebhooks = new Set<number>();
  for (const { delivery, isBarrier } of changes) {
    if (isBarrier) wholeWebhooks.add(delivery.webhookId);
    for (const docname of [delivery.docname, delivery.oldDocname]) {
      if (docname === null) continue;
      webhookIds.push(delivery.webhookId);
      docnames.push(docname);
    }
  }
  const touched = [...new Set(changes.map(({ delivery }) => delivery.webhookId))];
  await sql`
    with lane as (
      select distinct l.webhook_id, l.docname
      from unnest(${webhookIds}::integer[], ${docnames}::text[]) as l (webhook_id, docname)
    ),
    candidate as (
      select head.delivery_id
      from lane
      cross join lateral (
        select q.delivery_id from walhook.webhook_queue q
        where q.webhook_id = lane.webhook_id and q.docname = lane.docname and q.is_ordered and (not q.is_dead or q.holds_lane)
        order by q.commit_lsn, q.change_lsn, q.change_index, q.event_number
        limit 1
      ) as head
      union
      select head.delivery_id
      from lane
      cross join lateral (
        select q.delivery_id from walhook.webhook_queue q
        where q.webhook_id = lane.webhook_id and q.old_docname = lane.docname and q.is_ordered and (not q.is_dead or q.holds_lane)
        order by q.commit_lsn, q.change_lsn, q.change_index, q.event_number
        limit 1
      ) as head
      union
      select q.delivery_id from walhook.webhook_queue q
      where q.webhook_id = any(${touched}::integer[]) and q.is_barrier and not q.is_dead
      union
      -- Documents without a name stand in no lane; behind a barrier that is gone, everything is looked at.
      select q.delivery_id from walhook.webhook_queue q
      where q.webhook_id = any(${touched}::integer[]) and q.docname is null and q.due_at is null and not q.is_dead
      union
      select q.delivery_id from walhook.webhook_queue q
      where q.webhook_id = any(${[...wholeWebhooks]}::integer[]) and q.due_at is null and not q.is_dead
    )
    update walhook.webhook_queue q
    set due_at = now()
    from candidate
    where q.delivery_id = candidate.delivery_id
      and q.due_at is null
      and not q.is_dead
      and not exists (${earlier(sql`e.docname = q.docname`)})
      and not exists (${earlier(sql`e.docname = q.old_docname`)})
      and not exists (${earlier(sql`e.old_docname = q.docname`)})
      and not exists (${earlier(sql`e.old_docname = q.old_docname`)})
      and not exists (${earlier(sql`e.is_barrier`)})
      and not (q.is_barrier and exists (${earlier(sql`true`)}))`.execute(trx);
}

/** A delivery of the same webhook that comes before `q` and has to end first. One condition each, so that each has its index. */
function earlier(condition: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
        select from walhook.webhook_queue e
        where e.webhook_id = q.webhook_id and ${condition} and e.is_ordered and (not e.is_dead or e.holds_lane)
          and (e.commit_lsn, e.change_lsn, e.change_index, e.event_number)
            < (q.commit_lsn, q.change_lsn, q.change_index, q.event_number)`;
}
