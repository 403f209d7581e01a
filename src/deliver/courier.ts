import type { InForce } from "../match/in-force.ts";
import type { Webhook } from "../match/webhook.ts";
import { attempt, toRecord, type Attempt } from "./attempt.ts";
import { unsentRecord, type AttemptRecord, type Outcome } from "./attempt-record.ts";
import { Desk } from "./desk.ts";
import { laneKeys, type Lanes } from "./lanes.ts";
import { decideRetry } from "./retry.ts";
import type { Ticket } from "./ticket.ts";
import type { Transport } from "./transport.ts";

export interface CourierOptions {
  readonly lanes: Lanes;
  readonly transport: Transport;
  /** Requests that one webhook may have under way at once. */
  readonly concurrencyPerWebhook: number;
  /** For webhooks without a schedule of their own. */
  readonly retryScheduleMs: readonly number[];
  /** Whether a webhook may not send now, because its author lost the right. */
  readonly isHeld: (webhookId: number) => boolean;
  /** A delivery moved on: its log row, if it has one. Called synchronously. */
  readonly report: (ticket: Ticket, record: AttemptRecord | null) => void;
  /** A receiver said 410: the webhook sends nothing more here, and has to be disabled. */
  readonly onGone: (webhookId: number, reason: string) => void;
  /** There is room for deliveries of the queue again, after `room` had said that there was none. */
  readonly onRoom: () => void;
}

/**
 * Sends what is ready, so many at a time for each webhook, and decides what follows from each answer.
 * Lanes say what is ready; the courier never waits for anything but answers. What a receiver cannot take
 * now waits in the queue, not here.
 */
export class Courier {
  readonly #options: CourierOptions;
  readonly #desks = new Map<number, Desk>();
  readonly #alarms = new Map<number, NodeJS.Timeout>();
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
    for (const alarm of this.#alarms.values()) clearTimeout(alarm);
    if (this.#sending === 0 || withinMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, withinMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Attempts from now on follow this configuration; of `changed` webhooks what was learned is forgotten. */
  reconfigure(inForce: InForce, changed: Iterable<number>): void {
    this.#inForce = inForce;
    for (const id of changed) this.#desks.get(id)?.forgetPace();
    for (const desk of this.#desks.values()) this.#work(desk);
  }

  /** Takes tickets that are `ready`; others come by themselves when their lane gets to them. */
  take(tickets: Iterable<Ticket>): void {
    const busy = new Set<Desk>();
    for (const ticket of tickets) {
      if (ticket.state !== "ready") continue;
      const desk = this.#desk(ticket.delivery.webhookId);
      desk.push(ticket);
      busy.add(desk);
    }
    for (const desk of busy) this.#work(desk);
  }

  /** How many deliveries of the queue a webhook would take now. */
  room(webhookId: number): number {
    if (this.#isDraining) return 0;
    return this.#desks.get(webhookId)?.room(Date.now()) ?? this.#options.concurrencyPerWebhook;
  }

  /** Whether a webhook's receiver takes less than there is. */
  isClogged(webhookId: number): boolean {
    return this.#desks.get(webhookId)?.isClogged(Date.now()) ?? false;
  }

  #desk(webhookId: number): Desk {
    let desk = this.#desks.get(webhookId);
    if (desk === undefined) {
      desk = new Desk(webhookId, this.#options.concurrencyPerWebhook);
      this.#desks.set(webhookId, desk);
    }
    return desk;
  }

  #work(desk: Desk): void {
    if (this.#isDraining) return;
    const nowMs = Date.now();
    for (let ticket = desk.next(nowMs); ticket !== null; ticket = desk.next(nowMs)) this.#begin(desk, ticket);
    const pausedMs = desk.pausedMs(nowMs);
    if (pausedMs > 0) this.#wakeIn(desk, pausedMs);
    if (desk.isClogged(nowMs)) {
      // Those of the queue stay, unless nothing at all may be sent: they would only be fetched again.
      for (const ticket of desk.drain(({ isDurable }) => pausedMs > 0 || !isDurable)) this.#hold(ticket);
    }
    if (desk.takeAwaited()) this.#options.onRoom();
    if (desk.isIdle) this.#desks.delete(desk.webhookId);
  }

  #wakeIn(desk: Desk, ms: number): void {
    const { webhookId } = desk;
    if (ms === Infinity || this.#alarms.has(webhookId)) return;
    const wake = (): void => {
      this.#alarms.delete(webhookId);
      this.#options.onRoom();
      this.#work(desk);
    };
    this.#alarms.set(webhookId, setTimeout(wake, ms));
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
    desk.begin(Date.now());
    this.#sending++;
    ticket.state = "sending";
    const made = await attempt(delivery, request, webhook, this.#options.transport);
    this.#sending--;
    desk.end(made.result, Date.now());
    this.#conclude(ticket, made, webhook);
    this.#work(desk);
    if (this.#sending === 0) this.#onIdle();
  }

  #conclude(ticket: Ticket, made: Attempt, webhook: Webhook): void {
    ticket.attempts++;
    const decision = decideRetry(made.result, ticket.attempts, {
      scheduleMs: webhook.retryScheduleMs ?? this.#options.retryScheduleMs,
      nowMs: Date.now(),
      random: Math.random(),
    });
    const conclude = (outcome: Outcome): AttemptRecord => {
      const record = toRecord(ticket.delivery, made, ticket.attempts, outcome);
      ticket.lastError = record.error;
      return record;
    };
    if (decision.kind === "delivered") return this.#end(ticket, conclude("delivered"));
    if (decision.kind === "dead") {
      ticket.isDead = true;
      ticket.holdsLane = webhook.onExhausted === "hold" && (ticket.isBarrier || laneKeys(ticket).length > 0);
      return ticket.holdsLane ? this.#park(ticket, conclude("dead")) : this.#end(ticket, conclude("dead"));
    }
    // Deleted while the request was under way: there is no further attempt to wait for.
    if (!this.#inForce.webhooks.has(webhook.id)) return this.#end(ticket, conclude("cancelled"));
    ticket.dueAtMs = decision.kind === "retry" ? decision.dueAtMs : null;
    const record = conclude("retry");
    this.#park(ticket, record);
    if (decision.kind === "gone") this.#options.onGone(webhook.id, record.error ?? "HTTP 410");
  }

  #cancel(ticket: Ticket): void {
    const reason = "the webhook was deleted before this delivery could be made";
    this.#end(ticket, unsentRecord(ticket.delivery, "cancelled", reason, Date.now()));
  }

  /** What may not be sent now waits in the queue. */
  #hold(ticket: Ticket): void {
    this.#park(ticket, null);
  }

  #park(ticket: Ticket, record: AttemptRecord | null): void {
    this.#options.lanes.park(ticket);
    this.#options.report(ticket, record);
  }

  #end(ticket: Ticket, record: AttemptRecord): void {
    const free = this.#options.lanes.end(ticket);
    this.#options.report(ticket, record);
    this.take(free);
  }
}
