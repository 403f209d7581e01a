import type { Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import { fetchDue, msUntilDue } from "./due-deliveries.ts";
import type { Ticket } from "./ticket.ts";

export interface QueueFeederOptions {
  readonly db: Kysely<Database>;
  /** The webhooks that may send now: enabled, and their author still has the right. */
  readonly webhookIds: () => readonly number[];
  /** Deliveries with a queue row that this process is dealing with. */
  readonly claimed: Set<string>;
  /** Whether the queue holds anything at all: while it does not, the table is never asked. */
  readonly isEmpty: () => boolean;
  readonly onDue: (tickets: readonly Ticket[]) => void;
  readonly onFailure: (error: unknown) => void;
}

/** Deliveries of the queue in memory at once, bodies included. */
const MAX_CLAIMED = 500;
const MAX_SLEEP_MS = 30_000;

/**
 * Brings due deliveries of the queue table back, a page at a time, oldest due first. Sleeps until the next
 * one is due or until it is woken because something in the queue has changed.
 */
export class QueueFeeder {
  readonly #options: QueueFeederOptions;
  #isWorking = false;
  #isWoken = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | null = null;
  #work: Promise<void> = Promise.resolve();

  constructor(options: QueueFeederOptions) {
    this.#options = options;
  }

  /** Something may be due. */
  wake(): void {
    this.#isWoken = true;
    if (this.#isWorking || this.#isClosed || this.#options.isEmpty()) return;
    this.#isWorking = true;
    this.#work = this.#feed();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#work;
  }

  async #feed(): Promise<void> {
    const { db, webhookIds, claimed, onDue, onFailure } = this.#options;
    if (this.#timer !== null) clearTimeout(this.#timer);
    try {
      let sleepMs: number | null = null;
      while (this.#isWoken && !this.#isClosed) {
        this.#isWoken = false;
        const limit = MAX_CLAIMED - claimed.size;
        const filter = { webhookIds: webhookIds(), claimed: [...claimed] };
        if (limit <= 0 || filter.webhookIds.length === 0) continue;
        const tickets = await fetchDue(db, { ...filter, limit });
        if (this.#isClosed) break;
        for (const { delivery } of tickets) claimed.add(delivery.id);
        onDue(tickets);
        // A full page: whoever ends next wakes us.
        if (tickets.length < limit) sleepMs = await msUntilDue(db, { ...filter, claimed: [...claimed] });
      }
      if (sleepMs !== null) this.#sleep(sleepMs);
    } catch (error) {
      if (!this.#isClosed) onFailure(error);
    }
    this.#isWorking = false;
  }

  #sleep(ms: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.wake(), Math.min(Math.max(ms, 1), MAX_SLEEP_MS));
  }
}
