import { START } from "../../src/decode/position.ts";
import { unsentRecord, type AttemptRecord } from "../../src/deliver/attempt-record.ts";
import type { Delivery } from "../../src/render/delivery.ts";
import { MAX_DELIVERIES } from "./cursor-simulation-wal.ts";

/** Made once: delivery `n` says its number as that of its webhook. */
export const DELIVERIES: readonly Delivery[] = Array.from({ length: MAX_DELIVERIES }, (_, webhookId) => ({
  id: String(webhookId),
  webhookId,
  webhookName: "w",
  doctype: "t",
  docname: null,
  oldDocname: null,
  docevent: "on_update",
  source: "live",
  position: START,
  xid: 1,
  commitTimeUs: 0n,
  isOrdered: true,
}));

/** Their log rows, by delivery. */
export const DELIVERED: readonly AttemptRecord[] = DELIVERIES.map((delivery) =>
  unsentRecord(delivery, "delivered", "", 0),
);
export const RETRY: readonly AttemptRecord[] = DELIVERIES.map((delivery) => unsentRecord(delivery, "retry", "", 0));
export const DEAD: readonly AttemptRecord[] = DELIVERIES.map((delivery) => unsentRecord(delivery, "dead", "", 0));
