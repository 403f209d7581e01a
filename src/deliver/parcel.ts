import { createHash } from "node:crypto";
import { comparePositions } from "../decode/position.ts";
import { CLOUDEVENT_BATCH_TYPE, CLOUDEVENT_TYPE } from "../render/cloudevent.ts";
import type { FrozenRequest } from "../render/delivery.ts";
import type { Ticket } from "./ticket.ts";

/** What one request carries: a delivery by itself, or a batch of them in commit order. */
export interface Parcel {
  /** The `webhook-id` of the request, the same on every attempt. */
  readonly id: string;
  readonly tickets: readonly Ticket[];
  readonly request: FrozenRequest;
}

/** Deliveries that travel together: once they have been sent, no attempt is made with others. */
export interface Batch {
  /** Made of its deliveries' ids, so it tells whether all of them are there. */
  readonly id: string;
  /** In commit order. */
  readonly tickets: readonly Ticket[];
}

/**
 * In the order of their places in the stream. Ids sort in that order where they are made of the place; those of a backfill
 * are made of its number and the row's key, and its rows have the place at which they are sent.
 */
export function batchOf(tickets: readonly Ticket[]): Batch {
  const ids = tickets.map(({ delivery }) => delivery.id).toSorted();
  const hash = createHash("sha256").update(ids.join("\n")).digest("hex");
  return { id: `bat_${hash.slice(0, 40)}`, tickets: tickets.toSorted(byPlace) };
}

function byPlace({ delivery: a }: Ticket, { delivery: b }: Ticket): number {
  // Doc events of one change have one place; their numbers are in their ids.
  return comparePositions(a.position, b.position) || (a.id < b.id ? -1 : 1);
}

/** A delivery by itself. */
export function single(ticket: Ticket): Parcel {
  return { id: ticket.delivery.id, tickets: [ticket], request: requestOf(ticket) };
}

/**
 * A batch as one request: the body is a JSON array of `{"id", "payload"}`, where `id` is the delivery's own and
 * `payload` the body that it would have had by itself. CloudEvents have their ids inside, and their own kind of batch:
 * an array of them. Equal bytes whenever it is made of the same deliveries.
 */
export function bundle({ id, tickets }: Batch): Parcel {
  const first = requestOf(tickets[0]!);
  const isCloudevents = first.contentType === CLOUDEVENT_TYPE;
  const parts: Buffer[] = [];
  for (const ticket of tickets) {
    const lead = parts.length === 0 ? "[" : ",";
    const { body } = requestOf(ticket);
    if (isCloudevents) parts.push(Buffer.from(lead), body);
    else parts.push(Buffer.from(`${lead}{"id":"${ticket.delivery.id}","payload":`), body, CLOSE);
  }
  parts.push(END);
  const contentType = isCloudevents ? CLOUDEVENT_BATCH_TYPE : first.contentType;
  return { id, tickets, request: { ...first, contentType, body: Buffer.concat(parts) } };
}

const CLOSE = Buffer.from("}");
const END = Buffer.from("]");

function requestOf({ delivery, request }: Ticket): FrozenRequest {
  if (request === null) throw new Error(`delivery ${delivery.id} has nothing to send`);
  return request;
}
