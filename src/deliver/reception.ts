import type { Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Order } from "../render/delivery.ts";
import { unsentRecord, type AttemptRecord } from "./attempt-record.ts";
import type { Lanes } from "./lanes.ts";
import { findParkedLanes, NOTHING_PARKED, type ParkedLanes } from "./parked-lanes.ts";
import { newTicket, type Ticket } from "./ticket.ts";

export interface ReceptionOptions {
  readonly db: Kysely<Database>;
  readonly lanes: Lanes;
  /** Rows in the queue, by webhook. */
  readonly parkedCount: ReadonlyMap<number, number>;
  /** Parked tickets whose queue row is durable since the last call; taking them empties the list. */
  readonly takeDurable: () => readonly Ticket[];
  readonly report: (ticket: Ticket, record: AttemptRecord) => void;
}

/**
 * Receives a chunk's orders and gives each its place: ready to be sent, waiting in its lane, or parked
 * behind what the queue table holds of its lane, which is asked in one statement for the whole chunk and
 * only where the webhook has anything in the queue.
 *
 * One chunk at a time, in stream order.
 */
export async function receive(orders: readonly Order[], options: ReceptionOptions): Promise<readonly Ticket[]> {
  const { lanes, takeDurable } = options;
  // Right before the table is asked and never later: what is forgotten here, the answer knows.
  lanes.forgetDurable(takeDurable());
  const parked = await parkedLanes(orders, options);
  return orders.map((order) => enter(order, parked, options));
}

function parkedLanes(
  orders: readonly Order[],
  { db, parkedCount }: ReceptionOptions,
): ParkedLanes | Promise<ParkedLanes> {
  const concerned = orders
    .filter(({ kind, delivery }) => kind !== "unsendable" && (parkedCount.get(delivery.webhookId) ?? 0) > 0)
    .map(({ delivery }) => delivery);
  return concerned.length === 0 ? NOTHING_PARKED : findParkedLanes(db, concerned);
}

function enter(order: Order, parked: ParkedLanes, { lanes, report, parkedCount }: ReceptionOptions): Ticket {
  const { delivery } = order;
  const isBlocked = (parkedCount.get(delivery.webhookId) ?? 0) > 0 && parked.blocks(delivery);
  switch (order.kind) {
    case "request": {
      const ticket = newTicket(delivery, order.request);
      lanes.enter(ticket, isBlocked);
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
      report(ticket, unsentRecord(delivery, order.outcome, order.reason, Date.now()));
      return ticket;
    }
    default:
      return order satisfies never;
  }
}
