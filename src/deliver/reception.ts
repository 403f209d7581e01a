import type { Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Order } from "../render/delivery.ts";
import { unsentRecord, type AttemptRecord } from "./attempt-record.ts";
import type { Lanes } from "./lanes.ts";
import type { ParkedCount } from "./parked-count.ts";
import { findParkedLanes } from "./parked-lanes.ts";
import { newTicket, type Ticket } from "./ticket.ts";

export interface ReceptionOptions {
  readonly db: Kysely<Database>;
  readonly lanes: Lanes;
  /** Rows in the queue, by webhook. */
  readonly parkedCount: Pick<ParkedCount, "of">;
  /** Whether a webhook's receiver takes less than there is: then all of it goes into the queue. */
  readonly isClogged: (webhookId: number) => boolean;
  /** Parked tickets whose queue row is durable since the last call; taking them empties the list. */
  readonly takeDurable: () => readonly Ticket[];
  /** Those whose place is known before the queue has answered, so that they do not wait for it. */
  readonly onEntered: (tickets: readonly Ticket[]) => void;
  readonly report: (ticket: Ticket, record: AttemptRecord) => void;
}

/**
 * Receives a chunk's orders and gives each its place: ready to be sent, waiting in its lane, or parked
 * behind what the queue table holds of its lane. The table is asked in one statement for the whole chunk, only
 * about webhooks that have anything in the queue; the others do not wait for the answer.
 *
 * One chunk at a time, in stream order. Returns the tickets in the order of their orders.
 */
export async function receive(orders: readonly Order[], options: ReceptionOptions): Promise<readonly Ticket[]> {
  const { db, lanes, takeDurable, onEntered } = options;
  // Right before the table is asked and never later: what is forgotten here, the answer knows.
  lanes.forgetDurable(takeDurable());
  const places = new Map<number, Place>();
  const placeOf = (order: Order): Place => {
    const { webhookId } = order.delivery;
    let place = places.get(webhookId);
    if (place === undefined) places.set(webhookId, (place = choosePlace(webhookId, options)));
    return place;
  };
  // Lanes belong to one webhook each, so webhooks may enter one after the other.
  const entered = orders.map((order) => {
    const place = placeOf(order);
    // Undecided ones go into the queue in any case, and unsendable ones stand in no lane.
    return place === "ask" && order.kind === "request" ? null : enter(order, place === "queue", options);
  });
  const asked = orders.filter((_, index) => entered[index] === null).map(({ delivery }) => delivery);
  onEntered(entered.filter((ticket) => ticket !== null));
  if (asked.length === 0) return entered as readonly Ticket[];
  const parked = await findParkedLanes(db, asked);
  const late: Ticket[] = [];
  const tickets = entered.map((ticket, index) => {
    if (ticket !== null) return ticket;
    const order = orders[index]!;
    late.push(enter(order, parked.blocks(order.delivery), options));
    return late.at(-1)!;
  });
  onEntered(late);
  return tickets;
}

/** Straight into its lane, into the queue, or where the queue says. */
type Place = "lane" | "queue" | "ask";

function choosePlace(webhookId: number, { parkedCount, isClogged }: ReceptionOptions): Place {
  if (isClogged(webhookId)) return "queue";
  return parkedCount.of(webhookId) > 0 ? "ask" : "lane";
}

function enter(order: Order, isParked: boolean, { lanes, report }: ReceptionOptions): Ticket {
  const { delivery } = order;
  switch (order.kind) {
    case "request": {
      const ticket = newTicket(delivery, order.request);
      lanes.enter(ticket, isParked);
      return ticket;
    }
    case "undecided": {
      const ticket = newTicket(delivery, null, order.change);
      ticket.lastError = order.reason;
      lanes.enter(ticket, true);
      return ticket;
    }
    case "unsendable": {
      // Nothing is ever sent for it, so it stands in nobody's way.
      const ticket = newTicket(delivery, null);
      ticket.state = "ended";
      report(ticket, unsentRecord(delivery, order.outcome, order.reason, Date.now(), order.errorClass));
      return ticket;
    }
    default:
      return order satisfies never;
  }
}
