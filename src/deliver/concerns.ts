import type { Repair } from "../match/repair.ts";
import type { Delivery } from "../render/delivery.ts";
import { toMicroseconds } from "../to-microseconds.ts";

/** Whether a delivery is one of those that a `cancel_waiting` means; as `cancelWaiting` of `record/apply-repairs.ts` says in SQL. */
export function concerns(repair: Repair, delivery: Delivery): boolean {
  const { webhookId, docname, deliveryId, since, until, fromLsn, toLsn } = repair;
  const { commitLsn } = delivery.position;
  return (
    delivery.webhookId === webhookId &&
    (docname === null || delivery.docname === docname) &&
    (deliveryId === null || delivery.id === deliveryId) &&
    (since === null || delivery.commitTimeUs >= toMicroseconds(since)) &&
    (until === null || delivery.commitTimeUs < toMicroseconds(until)) &&
    (fromLsn === null || commitLsn >= fromLsn) &&
    (toLsn === null || commitLsn <= toLsn)
  );
}
