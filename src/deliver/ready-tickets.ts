import type { Ticket } from "./ticket.ts";

/** Dealt-with entries are cut off now and then, so that a list that is never empty does not grow. */
const COMPACT_AFTER = 10_000;

/** Tickets in the order in which they became ready, live ones before those of a backfill or replay. */
export class ReadyTickets {
  readonly #live = new TicketQueue();
  readonly #others = new TicketQueue();

  /** How many wait, and some that are not ready any more. */
  get count(): number {
    return this.#live.count + this.#others.count;
  }

  push(ticket: Ticket): void {
    (ticket.delivery.source === "live" ? this.#live : this.#others).push(ticket);
  }

  /** The first that is ready. */
  first(): Ticket | undefined {
    return this.#live.first() ?? this.#others.first();
  }

  /** The first is dealt with. */
  skip(): void {
    if (this.#live.first() === undefined) this.#others.skip();
    else this.#live.skip();
  }

  /** The first so many, ready or not. */
  head(count: number): readonly Ticket[] {
    const live = this.#live.head(count);
    return live.length === count || this.#others.count === 0
      ? live
      : [...live, ...this.#others.head(count - live.length)];
  }

  /** Takes out what is ready and fits. */
  *drain(fits: (ticket: Ticket) => boolean): Generator<Ticket> {
    yield* this.#live.drain(fits);
    yield* this.#others.drain(fits);
  }
}

/** Tickets in the order in which they came; who is not ready any more is passed over. */
class TicketQueue {
  #tickets: Ticket[] = [];
  /** Those before it are dealt with. */
  #next = 0;

  /** How many wait, and some that are not ready any more. */
  get count(): number {
    return this.#tickets.length - this.#next;
  }

  push(ticket: Ticket): void {
    this.#tickets.push(ticket);
  }

  /** The first that is ready. */
  first(): Ticket | undefined {
    while (this.#next < this.#tickets.length && this.#tickets[this.#next]!.state !== "ready") this.#next++;
    if (this.#next > COMPACT_AFTER || this.#next === this.#tickets.length) this.#compact();
    return this.#tickets[this.#next];
  }

  /** The first is dealt with. */
  skip(): void {
    this.#next++;
  }

  /** The first so many, ready or not. */
  head(count: number): readonly Ticket[] {
    return this.#tickets.slice(this.#next, this.#next + count);
  }

  /** Takes out what is ready and fits. */
  *drain(fits: (ticket: Ticket) => boolean): Generator<Ticket> {
    const waiting = this.#tickets.slice(this.#next);
    this.#tickets = [];
    this.#next = 0;
    for (const ticket of waiting) {
      if (ticket.state !== "ready") continue;
      if (fits(ticket)) yield ticket;
      else this.#tickets.push(ticket);
    }
  }

  #compact(): void {
    this.#tickets.splice(0, this.#next);
    this.#next = 0;
  }
}
