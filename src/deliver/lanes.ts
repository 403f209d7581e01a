import type { Ticket } from "./ticket.ts";

/**
 * The order of deliveries in memory: one webhook's deliveries for one document leave in commit order,
 * one at a time. A delivery whose UPDATE changed the primary key stands in two lanes, the old name's and
 * the new one's; a TRUNCATE stands in all lanes of its webhook. Documents without a name, and deliveries of
 * webhooks without order, have no lane.
 *
 * When a delivery is parked, everything behind it in its lanes is parked as well, so that the queue table
 * alone says what comes next. A parked lane stays closed here until `forgetDurable`, after which the
 * queue table has to be asked whether the lane is parked.
 */
export class Lanes {
  /** The last unfinished or parked ticket of each lane. */
  readonly #tails = new Map<string, Ticket>();
  readonly #byWebhook = new Map<number, WebhookLanes>();

  /**
   * Puts a ticket behind what stands in its lanes. Leaves it `ready`, `waiting` or `parked`: the latter behind
   * a parked one, and where `isParked` says that the queue table holds something of its lanes. Parking too
   * much is always right: the table gives the rows out in order.
   */
  enter(ticket: Ticket, isParked = false): void {
    const { webhookId } = ticket.delivery;
    const webhook = this.#webhook(webhookId);
    const predecessors = new Set<Ticket>();
    for (const key of laneKeys(ticket)) {
      const tail = this.#tails.get(key);
      if (tail !== undefined) predecessors.add(tail);
      this.#tails.set(key, ticket);
    }
    if (webhook.barrier !== null && ticket.delivery.isOrdered) predecessors.add(webhook.barrier);
    if (ticket.isBarrier) {
      for (const open of webhook.open) predecessors.add(open);
      webhook.barrier = ticket;
    }
    webhook.open.add(ticket);
    ticket.state = isParked ? "parked" : "ready";
    for (const predecessor of predecessors) if (predecessor.state === "parked") ticket.state = "parked";
    if (ticket.state === "parked") return;
    for (const predecessor of predecessors) {
      if (predecessor.state === "ended") continue;
      (predecessor.followers ??= []).push(ticket);
      ticket.waitsFor++;
      ticket.state = "waiting";
    }
  }

  /** The delivery is over. Returns those that may start now. */
  end(ticket: Ticket): readonly Ticket[] {
    ticket.state = "ended";
    this.#leave(ticket);
    const free: Ticket[] = [];
    for (const follower of ticket.followers ?? []) {
      if (--follower.waitsFor > 0 || follower.state !== "waiting") continue;
      follower.state = "ready";
      free.push(follower);
    }
    ticket.followers = null;
    return free;
  }

  /** The delivery goes on from the queue, and with it all that stand behind it. Returns every ticket parked by this call. */
  park(ticket: Ticket): readonly Ticket[] {
    const parked: Ticket[] = [];
    const pending = [ticket];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      if (next.state === "parked" || next.state === "ended") continue;
      next.state = "parked";
      parked.push(next);
      pending.push(...(next.followers ?? []));
      next.followers = null;
    }
    return parked;
  }

  /**
   * Opens the lanes whose parked tickets stand in the queue table by now. To be called right before the
   * table is asked, never between the question and the use of its answer.
   */
  forgetDurable(parked: Iterable<Ticket>): void {
    for (const ticket of parked) this.#leave(ticket);
  }

  #leave(ticket: Ticket): void {
    for (const key of laneKeys(ticket)) {
      if (this.#tails.get(key) === ticket) this.#tails.delete(key);
    }
    const webhook = this.#byWebhook.get(ticket.delivery.webhookId);
    if (webhook === undefined) return;
    webhook.open.delete(ticket);
    if (webhook.barrier === ticket) webhook.barrier = null;
    if (webhook.open.size === 0) this.#byWebhook.delete(ticket.delivery.webhookId);
  }

  #webhook(id: number): WebhookLanes {
    let webhook = this.#byWebhook.get(id);
    if (webhook === undefined) this.#byWebhook.set(id, (webhook = { open: new Set(), barrier: null }));
    return webhook;
  }
}

interface WebhookLanes {
  readonly open: Set<Ticket>;
  barrier: Ticket | null;
}

/** The lanes a ticket stands in by name; none for a barrier (it stands in all), without order, and without a docname. */
export function laneKeys({ delivery }: Ticket): readonly string[] {
  const { webhookId, docname, oldDocname, isOrdered } = delivery;
  if (docname === null || !isOrdered) return [];
  const key = `${webhookId} ${docname}`;
  return oldDocname === null ? [key] : [key, `${webhookId} ${oldDocname}`];
}
