import type { Webhook } from "../match/webhook.ts";
import { gatherBatch, isByItself } from "./gather-batch.ts";
import { Pace } from "./pace.ts";
import { batchOf, bundle, single, type Parcel } from "./parcel.ts";
import type { Ticket } from "./ticket.ts";
import { TokenBucket } from "./token-bucket.ts";
import type { TransportResult } from "./transport.ts";

/** Dealt-with entries are cut off now and then, so that a desk that is never empty does not grow. */
const COMPACT_AFTER = 10_000;
/** All its requests under way and no answer for so long: what else is there for it waits in the queue. */
const STALLED_AFTER_MS = 250;

/** How many deliveries a request carries, how long they wait for each other, and how many requests a second there may be. */
export type Packing = Pick<Webhook, "batchSize" | "batchWindowMs" | "rateLimit">;

/** One webhook's deliveries that may be sent: those that wait for their turn, and how many are under way. */
export class Desk {
  readonly webhookId: number;
  readonly #maxSending: number;
  readonly #maxSendingBytes: number;
  #pace: Pace;
  /** Null: its webhook has no rate limit. */
  #bucket: TokenBucket | null = null;
  #batchSize = 1;
  /** Tickets in the order in which they became ready; those before `#next` are dealt with. */
  #ready: Ticket[] = [];
  #next = 0;
  #sending = 0;
  #sendingBytes = 0;
  #answeredAtMs = 0;
  /** When the first of those that wait came, or those before it left. */
  #waitingSinceMs = 0;
  /** Somebody asked for room when there was none. */
  #isAwaited = false;

  /** No request is begun while so many are under way, or their bodies have so many bytes. */
  constructor(webhookId: number, maxSending: number, maxSendingBytes: number) {
    this.webhookId = webhookId;
    this.#maxSending = maxSending;
    this.#maxSendingBytes = maxSendingBytes;
    this.#pace = new Pace(maxSending);
  }

  push(ticket: Ticket, nowMs: number): void {
    if (this.#next === this.#ready.length) this.#waitingSinceMs = nowMs;
    this.#ready.push(ticket);
  }

  /** What may be sent now, in one request; null where nothing may. */
  next(nowMs: number, packing: Packing): Parcel | null {
    this.#keepTo(packing, nowMs);
    const parcel = this.#msUntilToken(nowMs) > 0 ? null : this.#choose(nowMs, packing);
    if (parcel !== null) this.#bucket?.take(nowMs);
    return parcel;
  }

  #choose(nowMs: number, packing: Packing): Parcel | null {
    if (this.#isBusy || this.#pace.pausedMs(nowMs) > 0) return null;
    const first = this.#first();
    if (first === undefined) return null;
    if (first.batch !== null) return bundle(first.batch);
    if (packing.batchSize === 1 || isByItself(first)) {
      this.#next++;
      return single(first);
    }
    if (this.msUntilNext(nowMs, packing) > 0) return null;
    const batch = batchOf(
      gatherBatch(this.#ready.slice(this.#next, this.#next + packing.batchSize), packing.batchSize),
    );
    for (const ticket of batch.tickets) ticket.batch = batch;
    this.#waitingSinceMs = nowMs;
    return bundle(batch);
  }

  /** How long a batch still waits to be filled: not at all where it is full or nothing is under way; Infinity: until then. */
  msUntilNext(nowMs: number, { batchSize, batchWindowMs }: Packing): number {
    const first = this.#first();
    if (first === undefined) return Infinity;
    if (first.batch !== null || this.#sending === 0 || this.#ready.length - this.#next >= batchSize) return 0;
    return batchWindowMs === 0 ? Infinity : Math.max(0, this.#waitingSinceMs + batchWindowMs - nowMs);
  }

  /** The first ticket that is ready, those before it being dealt with. */
  #first(): Ticket | undefined {
    while (this.#next < this.#ready.length && this.#ready[this.#next]!.state !== "ready") this.#next++;
    if (this.#next > COMPACT_AFTER || this.#next === this.#ready.length) this.#compact();
    return this.#ready[this.#next];
  }

  /** Requests under way. */
  get sending(): number {
    return this.#sending;
  }

  begin({ request }: Parcel, nowMs: number): void {
    if (this.#sending++ === 0) this.#answeredAtMs = nowMs;
    this.#sendingBytes += request.body.length;
  }

  end({ request }: Parcel, result: TransportResult, nowMs: number): void {
    this.#sending--;
    this.#sendingBytes -= request.body.length;
    this.#answeredAtMs = nowMs;
    this.#pace.note(result, nowMs);
  }

  /** The webhook was changed: what was learned of its receiver may be wrong. */
  forgetPace(): void {
    this.#pace = new Pace(this.#maxSending);
  }

  #keepTo({ rateLimit, batchSize }: Packing, nowMs: number): void {
    this.#batchSize = batchSize;
    if (rateLimit === null) this.#bucket = null;
    else if (this.#bucket?.perSecond !== rateLimit) this.#bucket = new TokenBucket(rateLimit, nowMs);
  }

  #msUntilToken(nowMs: number): number {
    return this.#bucket?.msUntilToken(nowMs) ?? 0;
  }

  /** When `next` should be asked again though nothing happens, in ms from now; Infinity or 0: it need not. */
  msUntilWake(nowMs: number, packing: Packing): number {
    return this.#pace.pausedMs(nowMs) || this.#msUntilToken(nowMs) || this.msUntilNext(nowMs, packing);
  }

  /** How long nothing may be sent, in ms. */
  pausedMs(nowMs: number): number {
    return this.#pace.pausedMs(nowMs);
  }

  /** Whether what comes in now would wait longer than is good for memory: it waits in the queue instead. */
  isClogged(nowMs: number): boolean {
    // What is beyond the rate takes its turn behind what waits in the queue already.
    if (this.#pace.pausedMs(nowMs) > 0 || this.#msUntilToken(nowMs) > 0) return true;
    if (!this.#isBusy) return false;
    const isHeldBack = this.#sending >= this.#pace.limit && this.#pace.limit < this.#maxSending;
    return isHeldBack || nowMs - this.#answeredAtMs > STALLED_AFTER_MS;
  }

  /** How many deliveries of the queue it would take now; where there is no room, `isAwaited` tells when to ask again. */
  room(nowMs: number): number {
    if (this.#pace.pausedMs(nowMs) > 0) return 0;
    // One more page than can be sent, so that nobody waits for the table; none of it where answers are slow.
    const capacity = this.isClogged(nowMs) ? this.#pace.limit : 2 * this.#pace.limit;
    const room = this.#roomAhead ?? capacity - this.#load;
    this.#isAwaited = room <= 0;
    return Math.max(0, room);
  }

  /** True once, when there is room again that somebody waits for. */
  takeAwaited(): boolean {
    if (!this.#isAwaited || this.#roomAhead === 0) return false;
    if (this.#bucket === null && this.#load > this.#pace.limit) return false;
    this.#isAwaited = false;
    return true;
  }

  /** Takes out what waits for its turn and fits. */
  *drain(fits: (ticket: Ticket) => boolean): Generator<Ticket> {
    const waiting = this.#ready.slice(this.#next);
    this.#ready = [];
    this.#next = 0;
    for (const ticket of waiting) {
      if (ticket.state !== "ready") continue;
      if (fits(ticket)) yield ticket;
      else this.#ready.push(ticket);
    }
  }

  /** Whether nothing would be lost without it. */
  isIdle(nowMs: number): boolean {
    return this.#load === 0 && this.#pace.isFull && (this.#bucket?.isFull(nowMs) ?? true);
  }

  get #isBusy(): boolean {
    return this.#sending >= this.#pace.limit || this.#sendingBytes >= this.#maxSendingBytes;
  }

  get #load(): number {
    return this.#sending + this.#waiting;
  }

  get #waiting(): number {
    return this.#ready.length - this.#next;
  }

  /**
   * How many deliveries may come from the queue for the next tokens: several at a time, not one for each token. Null
   * where there is no rate limit.
   */
  get #roomAhead(): number | null {
    if (this.#bucket === null) return null;
    const ahead = this.#bucket.ahead * this.#batchSize;
    return this.#isBusy || this.#waiting > ahead / 2 ? 0 : ahead - this.#waiting;
  }

  #compact(): void {
    this.#ready.splice(0, this.#next);
    this.#next = 0;
  }
}
