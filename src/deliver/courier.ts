import type { InForce } from "../match/in-force.ts";
import type { Webhook } from "../match/webhook.ts";
import { attempt, toRecord, type Attempt } from "./attempt.ts";
import { unsentRecord, type AttemptRecord } from "./attempt-record.ts";
import type { Lanes } from "./lanes.ts";
import { decideRetry } from "./retry.ts";
import type { Ticket } from "./ticket.ts";
import type { Transport } from "./transport.ts";

export interface CourierOptions {
  readonly lanes: Lanes;
  readonly transport: Transport;
  /** Requests that one webhook may have under way at once. */
  readonly concurrencyPerWebhook: number;
  readonly retryScheduleMs: readonly number[];
  /** Whether a webhook may not send now, because its author lost the right. */
  readonly isHeld: (webhookId: number) => boolean;
  /** A delivery moved on: its log row, if it has one. Called synchronously. */
  readonly report: (ticket: Ticket, record: AttemptRecord | null) => void;
}

/**
 * Sends what is ready, so many at a time for each webhook, and decides what follows from each answer.
 * Lanes say what is ready; the courier never waits for anything but answers.
 */
export class Courier {
  readonly #options: CourierOptions;
  readonly #desks = new Map<number, Desk>();
  #inForce: InForce;
  #sending = 0;
  #isDraining = false;
  #onIdle: () => void = () => {};

  constructor(inForce: InForce, options: CourierOptions) {
    this.#inForce = inForce;
    this.#options = options;
  }

  /** Starts nothing more; resolves when no request is under way, at the latest after `withinMs`. */
  async drain(withinMs: number): Promise<void> {
    this.#isDraining = true;
    if (this.#sending === 0 || withinMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Attempts from now on follow this configuration. */
  reconfigure(inForce: InForce): void {
    this.#inForce = inForce;
    for (const desk of this.#desks.values()) this.#work(desk);
  }

  /** Takes tickets that are `ready`; others come by themselves when their lane gets to them. */
  take(tickets: Iterable<Ticket>): void {
    const busy = new Set<Desk>();
    for (const ticket of tickets) {
      if (ticket.state !== "ready") continue;
      const desk = this.#desk(ticket.delivery.webhookId);
      desk.ready.push(ticket);
      busy.add(desk);
    }
    for (const desk of busy) this.#work(desk);
  }

  #desk(webhookId: number): Desk {
    let desk = this.#desks.get(webhookId);
    if (desk === undefined) this.#desks.set(webhookId, (desk = { webhookId, ready: [], next: 0, sending: 0 }));
    return desk;
  }

  #work(desk: Desk): void {
    while (!this.#isDraining && desk.sending < this.#options.concurrencyPerWebhook && desk.next < desk.ready.length) {
      const ticket = desk.ready[desk.next++]!;
      if (ticket.state === "ready") this.#begin(desk, ticket);
    }
    if (desk.next === desk.ready.length) {
      desk.ready.length = desk.next = 0;
      if (desk.sending === 0) this.#desks.delete(desk.webhookId);
    } else if (desk.next > COMPACT_AFTER) {
      desk.ready.splice(0, desk.next);
      desk.next = 0;
    }
  }

  #begin(desk: Desk, ticket: Ticket): void {
    const webhook = this.#inForce.webhooks.get(ticket.delivery.webhookId);
    if (webhook === undefined) this.#cancel(ticket);
    else if (!webhook.enabled || this.#options.isHeld(webhook.id)) this.#hold(ticket);
    else void this.#send(desk, ticket, webhook);
  }

  async #send(desk: Desk, ticket: Ticket, webhook: Webhook): Promise<void> {
    const { delivery, request } = ticket;
    if (request === null) throw new Error(`delivery ${delivery.id} has nothing to send`);
    desk.sending++;
    this.#sending++;
    ticket.state = "sending";
    const made = await attempt(delivery, request, webhook, this.#options.transport);
    desk.sending--;
    this.#sending--;
    this.#conclude(ticket, made);
    this.#work(desk);
    if (this.#sending === 0) this.#onIdle();
  }

  #conclude(ticket: Ticket, made: Attempt): void {
    ticket.attempts++;
    const decision = decideRetry(made.result, ticket.attempts, {
      scheduleMs: this.#options.retryScheduleMs,
      nowMs: Date.now(),
      random: Math.random(),
    });
    // Deleted while the request was under way: there is no further attempt to wait for.
    const isDeleted = decision.kind === "retry" && !this.#inForce.webhooks.has(ticket.delivery.webhookId);
    const outcome = isDeleted ? "cancelled" : decision.kind;
    const record = toRecord(ticket.delivery, made, ticket.attempts, outcome);
    ticket.lastError = record.error;
    switch (decision.kind) {
      case "delivered":
        this.#end(ticket, record);
        break;
      case "dead":
        ticket.isDead = true;
        this.#end(ticket, record);
        break;
      case "retry":
        if (isDeleted) return this.#end(ticket, record);
        ticket.dueAtMs = decision.dueAtMs;
        this.#options.lanes.park(ticket);
        this.#options.report(ticket, record);
        break;
      default:
        decision satisfies never;
    }
  }

  #cancel(ticket: Ticket): void {
    const reason = "the webhook was deleted before this delivery could be made";
    this.#end(ticket, unsentRecord(ticket.delivery, "cancelled", reason, Date.now()));
  }

  /** A disabled or held webhook's open deliveries wait in the queue until it may send again. */
  #hold(ticket: Ticket): void {
    this.#options.lanes.park(ticket);
    this.#options.report(ticket, null);
  }

  #end(ticket: Ticket, record: AttemptRecord): void {
    const free = this.#options.lanes.end(ticket);
    this.#options.report(ticket, record);
    this.take(free);
  }
}

interface Desk {
  readonly webhookId: number;
  /** Tickets in the order in which they became ready; those before `next` are dealt with. */
  readonly ready: Ticket[];
  next: number;
  sending: number;
}

/** Dealt-with entries are cut off now and then, so that a desk that is never empty does not grow. */
const COMPACT_AFTER = 10_000;
