import type { Delivery, FrozenRequest } from "../render/delivery.ts";
import type { AttemptRecord } from "./attempt-record.ts";
import type { Batch } from "./parcel.ts";

/**
 * Where a delivery stands in this process. The only mutable object of the pipe: lanes, courier and record
 * share it, each writing the field that is its own.
 *
 *     waiting ──> ready ──> sending ──> ended
 *        │          │          │
 *        └──────────┴──────────┴──────> parked     (goes on from the queue table)
 */
export interface Ticket {
  readonly delivery: Delivery;
  /** Null while the delivery is undecided: it goes to the queue with its raw change. */
  request: FrozenRequest | null;
  /** The raw change of an undecided delivery, as JSON; else null. */
  readonly change: string | null;
  /** A TRUNCATE: everything of its webhook before it ends first, everything after it waits. */
  readonly isBarrier: boolean;
  state: "waiting" | "ready" | "sending" | "ended" | "parked";
  /** Attempts made so far, over all processes. */
  attempts: number;
  /** A row of the queue table stands for it: a crash loses nothing of it. */
  isDurable: boolean;
  /** When a parked delivery is due again, in ms since 1970; null: as soon as its lane is free. */
  dueAtMs: number | null;
  lastError: string | null;
  /** Gave up: kept in the queue as a dead letter. */
  isDead: boolean;
  /** A dead letter behind which its lane waits. */
  holdsLane: boolean;
  /** Who has cancelled it while an attempt was under way, which is the last one; null: nobody. */
  cancelledBy: string | null;
  /** Log rows that wait for the next checkpoint that may write them. */
  records: AttemptRecord[];
  /** Unfinished deliveries that must end before this one starts. */
  waitsFor: number;
  /** Those that wait for this one. */
  followers: Ticket[] | null;
  /** With whom it was sent, or was sent before; null: by itself, or not yet. */
  batch: Batch | null;
  /** Number of the chunk that it came with; null before that chunk is whole, and for what comes from the queue. */
  chunk: number | null;
}

/** Whether later deliveries of its lane have to wait for it: it is open, or was given up and holds them. */
export function blocksLane({ isDead, holdsLane }: Pick<Ticket, "isDead" | "holdsLane">): boolean {
  return !isDead || holdsLane;
}

/** A delivery that has not been tried yet. */
export function newTicket(delivery: Delivery, request: FrozenRequest | null, change: string | null = null): Ticket {
  return {
    delivery,
    request,
    change,
    isBarrier: delivery.docevent === "on_truncate" && delivery.isOrdered,
    state: "waiting",
    attempts: 0,
    isDurable: false,
    dueAtMs: null,
    lastError: null,
    isDead: false,
    holdsLane: false,
    cancelledBy: null,
    records: [],
    waitsFor: 0,
    followers: null,
    batch: null,
    chunk: null,
  };
}
