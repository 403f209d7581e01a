import type { InForce } from "../match/in-force.ts";
import type { Webhook } from "../match/webhook.ts";
import { Alarms } from "./alarms.ts";
import { attempt, type Attempt } from "./attempt.ts";
import { unsentRecord, type AttemptRecord, type Outcome } from "./attempt-record.ts";
import { wasSent } from "./breaker.ts";
import { Desk, type Packing } from "./desk.ts";
import { mayOpen } from "./fair-share.ts";
import type { HealthBook } from "./health-book.ts";
import type { KeyRing } from "./key-ring.ts";
import { laneKeys, type Lanes } from "./lanes.ts";
import type { Parcel } from "./parcel.ts";
import { decideRetry, type Decision } from "./retry.ts";
import type { Ticket } from "./ticket.ts";
import { toRecord } from "./to-record.ts";
import type { Transport } from "./transport.ts";

export interface CourierOptions {
  readonly lanes: Lanes;
  readonly transport: Transport;
  /** Requests that one webhook may have under way at once. */
  readonly concurrencyPerWebhook: number;
  /** Requests under way at once in all; beyond it each webhook still has its share. */
  readonly maxOpenRequests: number;
  /** What the bodies of those may have together, unless one alone has more. */
  readonly bytesPerWebhook: number;
  /** For webhooks without a schedule of their own. */
  readonly retryScheduleMs: readonly number[];
  /** What each webhook signs with. */
  readonly keys: KeyRing;
  /** Whether a webhook may not send now, see `Gate.holds`. */
  readonly isHeld: (webhook: Webhook) => boolean;
  /** How its deliveries are packed and how many requests a second there may be; its receiver may bound that further. */
  readonly packingOf: (webhook: Webhook) => Packing;
  /** A delivery moved on: its log row, if it has one. Called synchronously. */
  readonly report: (ticket: Ticket, record: AttemptRecord | null) => void;
  /** How the webhooks do, as the courier finds out. */
  readonly health: HealthBook;
  /** A receiver said 410, or failed for too long: the webhook sends nothing more here, and has to be disabled. */
  readonly onHopeless: (webhook: Webhook, reason: string) => void;
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
  readonly #alarms = new Alarms((webhookId) => this.#wake(webhookId));
  #inForce: InForce;
  #sending = 0;
  #isDraining = false;
  #onIdle: () => void = () => {};

  constructor(inForce: InForce, options: CourierOptions) {
    this.#inForce = inForce;
    this.#options = options;
    const { health, concurrencyPerWebhook, bytesPerWebhook } = options;
    for (const [webhookId, breaker] of health.breakers) {
      const desk = new Desk(webhookId, concurrencyPerWebhook, bytesPerWebhook, breaker);
      this.#desks.set(webhookId, desk);
      this.#alarms.set(webhookId, desk.pausedMs(Date.now()));
    }
  }

  /** Starts nothing more; resolves when no request is under way, at the latest after `withinMs`. */
  async drain(withinMs: number): Promise<void> {
    this.#isDraining = true;
    this.#alarms.clearAll();
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
    for (const id of changed) {
      this.#desks.get(id)?.forget();
      this.#alarms.clear(id);
    }
    for (const desk of this.#desks.values()) this.#work(desk);
  }

  /** Takes tickets that are `ready`; others come by themselves when their lane gets to them. */
  take(tickets: Iterable<Ticket>): void {
    const nowMs = Date.now();
    const busy = new Set<Desk>();
    for (const ticket of tickets) {
      if (ticket.state !== "ready") continue;
      const desk = this.#desk(ticket.delivery.webhookId);
      desk.push(ticket, nowMs);
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
      desk = new Desk(webhookId, this.#options.concurrencyPerWebhook, this.#options.bytesPerWebhook);
      this.#desks.set(webhookId, desk);
    }
    return desk;
  }

  #work(desk: Desk): void {
    if (this.#isDraining) return;
    const nowMs = Date.now();
    if (desk.settle(nowMs)) this.#options.health.settled(desk.webhookId);
    const webhook = this.#inForce.webhooks.get(desk.webhookId);
    if (webhook === undefined) {
      for (const ticket of desk.drain(() => true)) this.#cancel(ticket);
    } else if (!webhook.enabled || this.#options.isHeld(webhook)) {
      for (const ticket of desk.drain(() => true)) this.#park(ticket, null);
      this.#alarms.set(desk.webhookId, desk.pausedMs(nowMs));
    } else {
      const packing = this.#options.packingOf(webhook);
      while (this.#mayOpen(desk)) {
        const parcel = desk.next(nowMs, packing);
        if (parcel === null) break;
        void this.#send(desk, parcel, webhook);
      }
      this.#alarms.set(desk.webhookId, desk.msUntilWake(nowMs, packing));
    }
    if (desk.isClogged(nowMs)) {
      // Those of the queue stay, unless nothing at all may be sent: they would only be fetched again.
      const isPaused = desk.pausedMs(nowMs) > 0;
      for (const ticket of desk.drain(({ isDurable }) => isPaused || !isDurable)) this.#park(ticket, null);
    }
    if (desk.takeAwaited()) this.#options.onRoom();
    if (desk.isIdle(nowMs)) this.#desks.delete(desk.webhookId);
  }

  /** A webhook that may not open one has a request under way, whose end asks again. */
  #mayOpen(desk: Desk): boolean {
    const open = { inAll: this.#sending, own: desk.sending, webhooks: this.#desks.size };
    return mayOpen(open, this.#options.maxOpenRequests);
  }

  #wake(webhookId: number): void {
    const desk = this.#desks.get(webhookId);
    // First it sets the next alarm, where a timer has come a moment early; a pause that ends between the two is over for whoever
    // asks for room. The other way round it could be over for the alarm alone, and nobody would be woken any more.
    if (desk !== undefined) this.#work(desk);
    this.#options.onRoom();
  }

  async #send(desk: Desk, parcel: Parcel, webhook: Webhook): Promise<void> {
    desk.begin(parcel, Date.now());
    this.#sending++;
    for (const ticket of parcel.tickets) ticket.state = "sending";
    const made = await attempt(parcel, webhook, this.#options);
    this.#sending--;
    this.#conclude(desk, parcel, made, webhook);
    this.#work(desk);
    if (this.#sending === 0) this.#onIdle();
  }

  /** All of a parcel share their attempts, so one decision is for all. */
  #conclude(desk: Desk, parcel: Parcel, made: Attempt, webhook: Webhook): void {
    const { tickets } = parcel;
    const attempts = tickets[0]!.attempts + 1;
    const nowMs = Date.now();
    const scheduleMs = webhook.retryScheduleMs ?? this.#options.retryScheduleMs;
    // Of one that was changed meanwhile, its URL say, it tells nothing: least of all that it is gone.
    const isOfNow = this.#inForce.webhooks.get(webhook.id) === webhook;
    desk.end(parcel, isOfNow ? made.result : null, { nowMs, scheduleMs, attempts });
    const decision = decideRetry(made.result, attempts, { scheduleMs, nowMs, random: Math.random() });
    for (const [index, ticket] of tickets.entries()) {
      ticket.attempts = attempts;
      this.#applyDecision(decision, ticket, (outcome) => toRecord(made, ticket, outcome, index === 0));
    }
    // The same for all, as their records have it.
    if (isOfNow) this.#updateHealth(desk, decision, tickets[0]!.lastError ?? "", made, webhook);
  }

  /** Tells how the webhook does, and stops it where there is no hope. */
  #updateHealth(desk: Desk, decision: Decision, error: string, { result }: Attempt, webhook: Webhook): void {
    const { health, onHopeless } = this.#options;
    const nowMs = Date.now();
    if (decision.kind === "delivered") return health.delivered(webhook.id, desk.breaker, nowMs);
    if (!wasSent(result)) return;
    const hopeless = health.failed(webhook, desk.breaker, error, nowMs) ?? (decision.kind === "gone" ? error : null);
    if (hopeless === null) return;
    desk.halt();
    health.disabled(webhook.id);
    onHopeless(webhook, hopeless);
  }

  #applyDecision(decision: Decision, ticket: Ticket, toLog: (outcome: Outcome) => AttemptRecord): void {
    const recordAs = (outcome: Outcome): AttemptRecord => {
      const record = toLog(outcome);
      ticket.lastError = record.error;
      return record;
    };
    if (decision.kind === "delivered") return this.#end(ticket, recordAs("delivered"));
    // What follows is decided by the configuration of now, not by that of when the request began.
    const webhook = this.#inForce.webhooks.get(ticket.delivery.webhookId);
    // Deleted while the request was under way: there is nobody left to wait for a further attempt, or to look at a dead letter.
    if (webhook === undefined) return this.#end(ticket, recordAs("cancelled"));
    if (decision.kind === "dead") {
      ticket.isDead = true;
      ticket.holdsLane = webhook.onExhausted === "hold" && (ticket.isBarrier || laneKeys(ticket).length > 0);
      return ticket.holdsLane ? this.#park(ticket, recordAs("dead")) : this.#end(ticket, recordAs("dead"));
    }
    ticket.dueAtMs = decision.kind === "retry" ? decision.dueAtMs : null;
    this.#park(ticket, recordAs("retry"));
  }

  #cancel(ticket: Ticket): void {
    const reason = "the webhook was deleted before this delivery could be made";
    this.#end(ticket, unsentRecord(ticket.delivery, "cancelled", reason, Date.now()));
  }

  /** It goes on from the queue. */
  #park(ticket: Ticket, record: AttemptRecord | null): void {
    const { lanes, report } = this.#options;
    // Those of the queue that came along behind it go back, too.
    for (const behind of lanes.park(ticket)) if (behind !== ticket && behind.isDurable) report(behind, null);
    report(ticket, record);
  }

  #end(ticket: Ticket, record: AttemptRecord): void {
    const free = this.#options.lanes.end(ticket);
    this.#options.report(ticket, record);
    this.take(free);
  }
}
