import type { Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Claims } from "./claims.ts";
import { fetchDue, msUntilDue, type Room } from "./due-deliveries.ts";
import type { Ticket } from "./ticket.ts";

export interface QueueFeederOptions {
  readonly db: Kysely<Database>;
  /** Who could take how many now: only webhooks that may send, and none without room. */
  readonly rooms: () => readonly Room[];
  /** Deliveries with a queue row that this process is dealing with. */
  readonly claimed: Claims;
  /** Bytes of bodies from the queue in memory at once. */
  readonly maxBytes: number;
  /** Whether the queue holds anything at all: while it does not, the table is never asked. */
  readonly isEmpty: () => boolean;
  /** Counts the changes of the configuration, which may cancel what is in the queue. */
  readonly generation: () => number;
  readonly onDue: (tickets: readonly Ticket[]) => void;
  readonly onFailure: (error: unknown) => void;
}

/** Deliveries of the queue in memory at once. */
const MAX_CLAIMED = 2_000;
const MAX_SLEEP_MS = 30_000;

/**
 * Brings due deliveries of the queue table back, a page at a time: of each webhook as many as it has room
 * for, so that the long queue of one is not in the way of another. Sleeps until the next one is due, or until
 * it is woken because something in the queue has changed or somebody has room again.
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
    if (this.#timer !== null) clearTimeout(this.#timer);
    try {
      let sleepMs: number | null = null;
      while (this.#isWoken && !this.#isClosed) {
        this.#isWoken = false;
        sleepMs = await this.#fetch();
      }
      if (sleepMs !== null) this.#sleep(sleepMs);
    } catch (error) {
      if (!this.#isClosed) this.#options.onFailure(error);
    }
    this.#isWorking = false;
  }

  /** Fetches a page. Returns how long nothing more is due, in ms; null where somebody else will wake us. */
  async #fetch(): Promise<number | null> {
    const { db, claimed, maxBytes, onDue } = this.#options;
    const rooms = this.#options.rooms();
    const limit = MAX_CLAIMED - claimed.count;
    const limitBytes = maxBytes - claimed.bytes;
    if (limit <= 0 || limitBytes <= 0 || rooms.length === 0) return null;
    const generation = this.#options.generation();
    using watch = claimed.watch();
    const { tickets, isCut } = await fetchDue(db, { rooms, claimed: claimed.ids, limit, limitBytes });
    if (this.#isClosed) return null;
    // Between question and answer some of these may have come into this process' hands, left them, or been cancelled.
    const isStale = tickets.some(({ delivery }) => watch.changed.has(delivery.id));
    if (isStale || this.#options.generation() !== generation) {
      this.#isWoken = true;
      return null;
    }
    for (const ticket of tickets) claimed.add(ticket);
    onDue(tickets);
    // Whoever ends next wakes us.
    if (isCut) return null;
    // Whoever got as many as it had room for says when it has room again.
    const heads = tickets.filter(({ waitsFor }) => waitsFor === 0);
    const left = rooms.filter((room) => heads.filter((ticket) => isFor(ticket, room)).length < room.count);
    return left.length === 0 ? null : await msUntilDue(db, { rooms: left, claimed: claimed.ids });
  }

  #sleep(ms: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => this.wake(), Math.min(Math.max(ms, 1), MAX_SLEEP_MS));
  }
}

function isFor({ delivery, request }: Ticket, { webhookId, kind }: Room): boolean {
  return delivery.webhookId === webhookId && (request === null) === (kind === "undecided");
}
