import { shortName } from "../events/short-name.ts";
import { freezeEvent } from "../match/frozen-event.ts";
import type { MatchedChunk } from "../match/matcher.ts";
import type { Match } from "../match/match.ts";
import type { Delivery, Order } from "./delivery.ts";
import type { DeliveryId } from "./delivery-id.ts";
import { backfillPlace, NO_TRANSACTION } from "./backfill-place.ts";
import { render } from "./render.ts";

/** A chunk, or a part of one, whose matches are rendered: orders for deliveries, in order. */
export interface OrderChunk extends Omit<MatchedChunk, "matches"> {
  readonly orders: readonly Order[];
  /** What the orders hold beyond the row changes: bodies, and raw changes of undecided ones. */
  readonly orderBytes: number;
}

/** A part ends with the change that reaches one of these. */
const MAX_ORDERS = 500;
const MAX_ORDER_BYTES = 1024 * 1024;

/**
 * Renders what fires, and says of the rest why it cannot be sent, part by part as it is asked for: a chunk of 500
 * events and a thousand webhooks has 500,000 bodies. A part never ends inside a change, whose deliveries have one
 * position; only the last one tells the chunk's bytes, its flush LSN and its configuration.
 */
export function* orderChunks(
  { matches, ...place }: MatchedChunk,
  deliveryId: DeliveryId,
  maxBodyBytes: number,
): Generator<OrderChunk> {
  let orders: Order[] = [];
  let orderBytes = 0;
  for (const [index, match] of matches.entries()) {
    const order = toOrder(match, deliveryId, maxBodyBytes);
    orders.push(order);
    orderBytes += bytesOf(order);
    const { change } = match.event;
    const next = matches[index + 1];
    const isFull = orders.length >= MAX_ORDERS || orderBytes >= MAX_ORDER_BYTES;
    if (!isFull || next === undefined || next.event.change === change) continue;
    yield { orders, orderBytes, position: change.position, flushLsn: 0n, bytes: 0, change: null };
    orders = [];
    orderBytes = 0;
  }
  yield { ...place, orders, orderBytes };
}

function bytesOf(order: Order): number {
  if (order.kind === "request") return order.request.body.length;
  return order.kind === "undecided" ? order.change.length : 0;
}

function toOrder(match: Match, deliveryId: DeliveryId, maxBodyBytes: number): Order {
  const delivery = toDelivery(match, deliveryId);
  switch (match.kind) {
    case "fires": {
      const rendered = render(match.webhook, match.event, maxBodyBytes, delivery.id);
      if (rendered.ok) return { kind: "request", delivery, request: rendered.request };
      const { outcome, errorClass, error } = rendered;
      return { kind: "unsendable", delivery, outcome, errorClass, reason: error };
    }
    case "undecided":
      return toUndecided(match, delivery);
    case "declined":
    case "undecidable":
    case "error":
      return { kind: "unsendable", delivery, outcome: match.kind, errorClass: null, reason: match.reason };
    default:
      return match satisfies never;
  }
}

function toUndecided({ event, reason }: Match & { readonly kind: "undecided" }, delivery: Delivery): Order {
  try {
    return { kind: "undecided", delivery, change: freezeEvent(event), reason };
  } catch (error) {
    // JSON of a row of control characters is six times as long, and V8's strings end at 512 MiB.
    if (!(error instanceof RangeError)) throw error;
    const text = "the row is too large to wait for its condition in the queue; lower --max-row-bytes";
    return { kind: "unsendable", delivery, outcome: "error", errorClass: "row_too_large", reason: text };
  }
}

function toDelivery({ webhook, event }: Match, deliveryId: DeliveryId): Delivery {
  const { transaction, position, relation } = event.change;
  const isBackfill = event.backfillId !== undefined;
  return {
    id: isBackfill
      ? deliveryId(NO_TRANSACTION, backfillPlace(event.backfillId, event.docname ?? ""), event.name, webhook.id)
      : deliveryId(transaction, position, event.name, webhook.id),
    webhookId: webhook.id,
    webhookName: webhook.name,
    doctype: relation.doctype,
    docname: event.docname === null ? null : shortName(event.docname),
    oldDocname: event.oldDocname === null ? null : shortName(event.oldDocname),
    docevent: event.name,
    source: isBackfill ? "backfill" : "live",
    position,
    xid: transaction.xid,
    commitTimeUs: transaction.commitTimeUs,
    isOrdered: webhook.isOrdered,
  };
}
