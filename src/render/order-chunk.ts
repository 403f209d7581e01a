import { freezeEvent } from "../match/frozen-event.ts";
import type { MatchedChunk } from "../match/matcher.ts";
import type { Match } from "../match/match.ts";
import type { Delivery, DeliverySource, Order } from "./delivery.ts";
import type { DeliveryId } from "./delivery-id.ts";
import { render } from "./render.ts";

/** A chunk whose matches are rendered: orders for deliveries, in order. */
export interface OrderChunk extends Omit<MatchedChunk, "matches"> {
  readonly orders: readonly Order[];
}

/** Renders what fires, and says of the rest why it cannot be sent. */
export function toOrderChunk({ matches, ...place }: MatchedChunk, deliveryId: DeliveryId): OrderChunk {
  return { ...place, orders: matches.map((match) => toOrder(match, deliveryId)) };
}

function toOrder(match: Match, deliveryId: DeliveryId): Order {
  const delivery = toDelivery(match, deliveryId);
  switch (match.kind) {
    case "fires": {
      const rendered = render(match.webhook, match.event);
      if (rendered.ok) return { kind: "request", delivery, request: rendered.request };
      return { kind: "unsendable", delivery, outcome: rendered.outcome, reason: rendered.error };
    }
    case "undecided":
      return { kind: "undecided", delivery, change: freezeEvent(match.event), reason: match.reason };
    case "undecidable":
    case "error":
      return { kind: "unsendable", delivery, outcome: match.kind, reason: match.reason };
    default:
      return match satisfies never;
  }
}

function toDelivery({ webhook, event }: Match, deliveryId: DeliveryId, source: DeliverySource = "live"): Delivery {
  const { transaction, position, relation } = event.change;
  return {
    id: deliveryId(transaction, position, event.name, webhook.id),
    webhookId: webhook.id,
    webhookName: webhook.name,
    doctype: relation.doctype,
    docname: event.docname,
    oldDocname: event.oldDocname,
    docevent: event.name,
    source,
    position,
    xid: transaction.xid,
    commitTimeUs: transaction.commitTimeUs,
    isOrdered: webhook.isOrdered,
  };
}
