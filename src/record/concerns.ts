import type { Repair } from "../match/repair.ts";
import type { Delivery } from "../render/delivery.ts";

/** Whether a delivery is one of those that a `cancel_waiting` means; as `waitingOf` says in SQL. */
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

const TIMESTAMP = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/;

/** A timestamptz as the stream has it, in UTC; what is beyond all dates is beyond all commits. */
function toMicroseconds(text: string): bigint {
  if (text === "infinity") return 2n ** 62n;
  const [, date, time, fraction = ""] = TIMESTAMP.exec(text) ?? [];
  if (date === undefined) return -(2n ** 62n);
  return BigInt(Date.parse(`${date}T${time}Z`)) * 1000n + BigInt(fraction.padEnd(6, "0"));
}
