import type { Selectable } from "kysely";
import type { Database } from "../db/schema.ts";
import type { DocEventName } from "../events/doc-event.ts";
import type { Delivery, DeliverySource, FrozenRequest } from "../render/delivery.ts";
import { parseLsn } from "../replication/lsn.ts";
import { batchOf } from "./parcel.ts";
import { newTicket, type Ticket } from "./ticket.ts";

/** A row of the queue that is due, or comes along with one that is. */
export type DueRow = Pick<
  Selectable<Database["walhook.webhook_queue"]>,
  | "delivery_id"
  | "webhook_id"
  | "webhook"
  | "doctype"
  | "docname"
  | "old_docname"
  | "docevent"
  | "source"
  | "commit_lsn"
  | "change_lsn"
  | "change_index"
  | "xid"
  | "attempts"
  | "last_error"
  | "is_ordered"
  | "batch_id"
  | "method"
  | "url"
  | "content_type"
  | "headers"
  | "body"
> & {
  readonly change: string | null;
  readonly commit_time_us: string;
  readonly is_cut: boolean;
  /** The delivery that is due, behind which it comes, and how far. */
  readonly lane: string;
  readonly step: number;
};

/** Rows of one page as tickets, in their order: ready, or waiting for the one before in their lane. */
export function toTickets(rows: readonly DueRow[]): readonly Ticket[] {
  const tickets = rows.map(toTicket);
  joinBatches(rows, tickets);
  joinLanes(rows, tickets);
  return tickets;
}

/** Those that were sent together are sent together again. Where one of them is gone, the rest may be sent with others. */
function joinBatches(rows: readonly DueRow[], tickets: readonly Ticket[]): void {
  const batches = new Map<string, Ticket[]>();
  for (const [index, { batch_id }] of rows.entries()) {
    if (batch_id !== null) batches.set(batch_id, [...(batches.get(batch_id) ?? []), tickets[index]!]);
  }
  for (const [id, members] of batches) {
    const batch = batchOf(members);
    if (batch.id === id) for (const ticket of members) ticket.batch = batch;
  }
}

/** Rows come by their step, so whoever stands before has been met. */
function joinLanes(rows: readonly DueRow[], tickets: readonly Ticket[]): void {
  const last = new Map<string, Ticket>();
  for (const [index, { lane, step }] of rows.entries()) {
    const ticket = tickets[index]!;
    const before = last.get(lane);
    last.set(lane, ticket);
    if (step === 0 || before === undefined) continue;
    ticket.state = "waiting";
    ticket.waitsFor = 1;
    before.followers = [ticket];
  }
}

function toTicket(row: DueRow): Ticket {
  const delivery: Delivery = {
    id: row.delivery_id,
    webhookId: row.webhook_id,
    webhookName: row.webhook,
    doctype: row.doctype,
    docname: row.docname,
    oldDocname: row.old_docname,
    docevent: row.docevent as DocEventName,
    source: row.source as DeliverySource,
    position: {
      commitLsn: parseLsn(row.commit_lsn),
      changeLsn: parseLsn(row.change_lsn),
      index: row.change_index,
    },
    xid: Number(row.xid),
    commitTimeUs: BigInt(row.commit_time_us),
    isOrdered: row.is_ordered,
  };
  return {
    ...newTicket(delivery, toRequest(row), row.change),
    state: "ready",
    isDurable: true,
    attempts: row.attempts,
    lastError: row.last_error,
  };
}

/** Null for an undecided delivery, which has a raw change instead. */
function toRequest({ method, url, content_type, headers, body }: DueRow): FrozenRequest | null {
  if (body === null || method === null || content_type === null) return null;
  return { method, url, contentType: content_type, headers: headers ?? [], body };
}
