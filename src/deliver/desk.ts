import type { Webhook } from "../match/webhook.ts";
import type { Breaker, Circumstances } from "./breaker.ts";
import { begin, CLOSED, limitOf, msUntilSettled, note, openMsLeft, settle } from "./breaker.ts";
import { gatherBatch, isByItself } from "./gather-batch.ts";
import { batchOf, bundle, single, type Parcel } from "./parcel.ts";
import { RateLimit } from "./rate-limit.ts";
import { ReadyTickets } from "./ready-tickets.ts";
import type { Ticket } from "./ticket.ts";
import type { TransportResult } from "./transport.ts";

/** All its requests under way and no answer for so long: what else is there for it waits in the queue. */
const STALLED_AFTER_MS = 250;

/** How many deliveries a request carries, how long they wait for each other, and how many requests a second there may be. */
export type Packing = Pick<Webhook, "batchSize" | "batchWindowMs" | "rateLimit">;

/** One webhook's deliveries that may be sent: those that wait for their turn, and how many are under way. */
export class Desk {
  readonly webhookId: number;
  readonly #maxSending: number;
  readonly #maxSendingBytes: number;
  #breaker: Breaker;
  /** Nothing is sent any more until somebody changes the webhook. */
  #isHalted = false;
  readonly #rate = new RateLimit();
  readonly #ready = new ReadyTickets();
  #sending = 0;
  #sendingBytes = 0;
  #answeredAtMs = 0;
  /** When the first of those that wait came, or those before it left. */
  #waitingSinceMs = 0;
  /** Somebody asked for room when there was none. */
  #isAwaited = false;

  /**
   * No request is begun while so many are under way, or their bodies have so many bytes.
   * @param breaker as an earlier process left it
   */
  constructor(webhookId: number, maxSending: number, maxSendingBytes: number, breaker: Breaker = CLOSED) {
    this.webhookId = webhookId;
    this.#maxSending = maxSending;
    this.#maxSendingBytes = maxSendingBytes;
    this.#breaker = breaker;
  }

  /** What is known of its receiver. */
  get breaker(): Breaker {
    return this.#breaker;
  }

  push(ticket: Ticket, nowMs: number): void {
    if (this.#ready.count === 0) this.#waitingSinceMs = nowMs;
    this.#ready.push(ticket);
  }

  /** What may be sent now, in one request; null where nothing may. */
  next(nowMs: number, packing: Packing): Parcel | null {
    this.#rate.keepTo(packing, nowMs);
    const parcel = this.#rate.msUntilToken(nowMs) > 0 ? null : this.#choose(nowMs, packing);
    if (parcel !== null) this.#rate.take(nowMs);
    return parcel;
  }

  #choose(nowMs: number, packing: Packing): Parcel | null {
    if (this.#isBusy || this.pausedMs(nowMs) > 0) return null;
    const first = this.#ready.first();
    if (first === undefined) return null;
    if (first.batch !== null) return bundle(first.batch);
    if (packing.batchSize === 1 || isByItself(first)) {
      this.#ready.skip();
      return single(first);
    }
    if (this.msUntilNext(nowMs, packing) > 0) return null;
    const batch = batchOf(gatherBatch(this.#ready.head(packing.batchSize), packing.batchSize));
    for (const ticket of batch.tickets) ticket.batch = batch;
    this.#waitingSinceMs = nowMs;
    return bundle(batch);
  }

  /** How long a batch still waits to be filled: not at all where it is full or nothing is under way; Infinity: until then. */
  msUntilNext(nowMs: number, { batchSize, batchWindowMs }: Packing): number {
    const first = this.#ready.first();
    if (first === undefined) return Infinity;
    if (first.batch !== null || this.#sending === 0 || this.#ready.count >= batchSize) return 0;
    return batchWindowMs === 0 ? Infinity : Math.max(0, this.#waitingSinceMs + batchWindowMs - nowMs);
  }

  /** Requests under way. */
  get sending(): number {
    return this.#sending;
  }

  begin({ request }: Parcel, nowMs: number): void {
    this.#breaker = begin(this.#breaker);
    if (this.#sending++ === 0) this.#answeredAtMs = nowMs;
    this.#sendingBytes += request.body.length;
  }

  /** @param result null: it says nothing of the receiver */
  end({ request }: Parcel, result: TransportResult | null, at: Omit<Circumstances, "maxSending">): void {
    const { nowMs, scheduleMs, attempts } = at;
    this.#sending--;
    this.#sendingBytes -= request.body.length;
    this.#answeredAtMs = nowMs;
    if (result === null) return;
    // Not by spreading: that takes half a microsecond.
    this.#breaker = note(this.#breaker, result, { nowMs, scheduleMs, attempts, maxSending: this.#maxSending });
  }

  /** True where its breaker closes now, since nothing more was there to be sent. */
  settle(nowMs: number): boolean {
    const former = this.#breaker;
    this.#breaker = settle(former, nowMs);
    return this.#breaker !== former;
  }

  /** Sends nothing more. */
  halt(): void {
    this.#isHalted = true;
  }

  /** The webhook was changed: what was learned of its receiver may be wrong. */
  forget(): void {
    this.#breaker = CLOSED;
    this.#isHalted = false;
  }

  /** When `next` should be asked again though nothing happens, in ms from now; Infinity or 0: it need not. */
  msUntilWake(nowMs: number, packing: Packing): number {
    const ms = this.pausedMs(nowMs) || this.#rate.msUntilToken(nowMs) || this.msUntilNext(nowMs, packing);
    return Math.min(ms === 0 ? Infinity : ms, msUntilSettled(this.#breaker, nowMs));
  }

  /** How long nothing may be sent, in ms; Infinity: until somebody changes the webhook. */
  pausedMs(nowMs: number): number {
    return this.#isHalted ? Infinity : openMsLeft(this.#breaker, nowMs);
  }

  /** Whether what comes in now would wait longer than is good for memory: it waits in the queue instead. */
  isClogged(nowMs: number): boolean {
    // What is beyond the rate takes its turn behind what waits in the queue already.
    if (this.pausedMs(nowMs) > 0 || this.#rate.msUntilToken(nowMs) > 0) return true;
    if (!this.#isBusy) return false;
    const isHeldBack = this.#sending >= this.#limit && this.#limit < this.#maxSending;
    return isHeldBack || nowMs - this.#answeredAtMs > STALLED_AFTER_MS;
  }

  /** How many deliveries of the queue it would take now; where there is no room, `isAwaited` tells when to ask again. */
  room(nowMs: number): number {
    if (this.pausedMs(nowMs) > 0) return 0;
    // One more page than can be sent, so that nobody waits for the table; none of it where answers are slow.
    const capacity = this.isClogged(nowMs) ? this.#limit : 2 * this.#limit;
    const room = this.#roomAhead ?? capacity - this.#load;
    this.#isAwaited = room <= 0;
    return Math.max(0, room);
  }

  /** True once, when there is room again that somebody waits for. */
  takeAwaited(): boolean {
    if (!this.#isAwaited || this.#roomAhead === 0) return false;
    if (this.#rate.ahead === null && this.#load > this.#limit) return false;
    this.#isAwaited = false;
    return true;
  }

  /** Takes out what waits for its turn and fits. */
  drain(fits: (ticket: Ticket) => boolean): Iterable<Ticket> {
    return this.#ready.drain(fits);
  }

  /** Whether nothing would be lost without it. */
  isIdle(nowMs: number): boolean {
    return this.#load === 0 && this.#breaker === CLOSED && !this.#isHalted && this.#rate.isFull(nowMs);
  }

  /** Requests that may be under way at once. */
  get #limit(): number {
    return Math.min(this.#maxSending, limitOf(this.#breaker));
  }

  get #isBusy(): boolean {
    return this.#sending >= this.#limit || this.#sendingBytes >= this.#maxSendingBytes;
  }

  get #load(): number {
    return this.#sending + this.#ready.count;
  }

  /**
   * How many deliveries may come from the queue for the next tokens: several at a time, not one for each token. Null
   * where there is no rate limit.
   */
  get #roomAhead(): number | null {
    const { ahead } = this.#rate;
    if (ahead === null) return null;
    return this.#isBusy || this.#ready.count > ahead / 2 ? 0 : ahead - this.#ready.count;
  }
}
