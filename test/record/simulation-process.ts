import { comparePositions } from "../../src/decode/position.ts";
import { unsentRecord } from "../../src/deliver/attempt-record.ts";
import { Lanes, laneKeys } from "../../src/deliver/lanes.ts";
import type { Ticket } from "../../src/deliver/ticket.ts";
import type { CheckpointPlan } from "../../src/record/checkpoint-plan.ts";
import { Tracker } from "../../src/record/tracker.ts";
import type { SimulatedDatabase } from "./simulation-database.ts";
import type { Mutant } from "./simulation-mutants.ts";
import {
  HOLDING,
  placeBehind,
  toTicket,
  type Change,
  type Dice,
  type SimulatedRepair,
  type Transaction,
} from "./simulation-wal.ts";

export interface SimulatedProcessOptions {
  readonly wal: readonly Transaction[];
  readonly database: SimulatedDatabase;
  readonly dice: Dice;
  readonly mutant: Mutant;
  /** Whether receivers fail now and then. */
  readonly isFailing: boolean;
  /** A delivery reached its receiver. */
  readonly onReceived: (id: string) => void;
  /** A delivery was given up. */
  readonly onDead: (id: string, holdsLane: boolean) => void;
}

/** One process: the real Tracker and Lanes, and around them, one step at a time, what the bridge does. */
export class SimulatedProcess {
  readonly #options: SimulatedProcessOptions;
  readonly #lanes = new Lanes();
  readonly #tracker: Tracker;
  readonly #changeOf = new Map<string, Change>();
  readonly #repairOf = new Map<object, SimulatedRepair>();
  readonly #claimed = new Set<string>();
  readonly #active: Ticket[] = [];
  #forgettable: Ticket[] = [];
  /** Of the transactions that the server sends from the acknowledged LSN on: the next one, and how much of it was read. */
  #next: number;
  #offset = 0;
  #lastEnd: bigint;
  #plan: CheckpointPlan | null = null;
  #stage = 0;
  #nowMs: number;
  readonly #start;

  constructor(options: SimulatedProcessOptions, nowMs: number) {
    const { wal, database } = options;
    this.#options = options;
    this.#nowMs = nowMs;
    this.#start = { position: database.position, flushLsn: database.flushLsn };
    this.#tracker = new Tracker(this.#start, 3, (ticket) => void this.#lanes.park(ticket));
    this.#lastEnd = database.flushLsn;
    const next = wal.findIndex((transaction) => transaction.commitLsn >= database.confirmedFlushLsn);
    this.#next = next < 0 ? wal.length : next;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Whether everything that was read is durable and nothing of it is open. */
  get isIdle(): boolean {
    return this.#next === this.#options.wal.length && this.#tracker.depth === 0 && this.#plan === null;
  }

  step(): void {
    switch (this.#options.dice.below(12)) {
      case 0:
        return this.#feed();
      case 1:
        return this.#fetch();
      case 2:
      case 3:
      case 4:
        return this.#begin();
      case 5:
      case 6:
      case 7:
        return this.#finish();
      case 8:
      case 9:
      case 10:
        return this.#checkpoint();
      default:
        this.#nowMs++;
        if (this.#options.isFailing && this.#options.dice.chance(0.2)) this.#hold();
    }
  }

  #feed(): void {
    const { wal, database, dice, mutant } = this.#options;
    const transaction = wal[this.#next];
    if (transaction === undefined) return;
    const end = this.#offset + 1 + dice.below(3);
    const isWhole = end >= transaction.changes.length;
    const fresh = transaction.changes
      .slice(this.#offset, end)
      .filter((change) => comparePositions(change.position, this.#start.position) > 0);
    const position = placeBehind(transaction, end);
    this.#offset = isWhole ? 0 : end;
    if (isWhole) {
      this.#lastEnd = transaction.endLsn;
      this.#next++;
    }
    this.#lanes.forgetDurable(this.#forgettable);
    this.#forgettable = [];
    const isClogged = dice.chance(0.05);
    const tickets = fresh.map((change) => {
      const ticket = this.#track(change);
      const isParked = isClogged || (mutant !== "lane-ignored-on-retry" && database.blocks(change));
      this.#lanes.enter(ticket, isParked);
      return ticket;
    });
    const isRepair = isWhole && transaction.repair !== null && comparePositions(position, this.#start.position) > 0;
    const configuration = isRepair ? { changed: new Map(), removed: [], repairs: [] } : null;
    if (configuration !== null) this.#repairOf.set(configuration, transaction.repair!);
    this.#tracker.admit({ position, flushLsn: this.#lastEnd, bytes: 1, tickets, configuration }, this.#nowMs);
  }

  #track(change: Change): Ticket {
    const ticket = toTicket(change);
    this.#changeOf.set(change.id, change);
    this.#active.push(ticket);
    return ticket;
  }

  #fetch(): void {
    const { database, dice } = this.#options;
    const due = database.due(this.#nowMs).filter((row) => !this.#claimed.has(row.change.id));
    const row = due[dice.below(due.length)];
    if (row === undefined) return;
    this.#claimed.add(row.change.id);
    const ticket = this.#track(row.change);
    ticket.isDurable = true;
    ticket.attempts = row.attempts;
    ticket.state = "ready";
  }

  #begin(): void {
    const ticket = this.#any("ready");
    if (ticket !== undefined) ticket.state = "sending";
  }

  /** A receiver takes less than there is: what is ready goes back into the queue. */
  #hold(): void {
    const ticket = this.#any("ready");
    if (ticket === undefined) return;
    this.#lanes.park(ticket);
    this.#tracker.touch(ticket);
  }

  #finish(): void {
    const ticket = this.#any("sending");
    if (ticket === undefined) return;
    const { dice, isFailing, onReceived } = this.#options;
    ticket.attempts++;
    if (!isFailing || dice.chance(0.6)) {
      onReceived(ticket.delivery.id);
      this.#record(ticket, "delivered");
      this.#lanes.end(ticket);
    } else if (dice.chance(0.25)) {
      this.#giveUp(ticket);
    } else {
      ticket.dueAtMs = this.#nowMs + 1 + dice.below(5);
      this.#record(ticket, "retry");
      this.#lanes.park(ticket);
    }
    this.#tracker.touch(ticket);
  }

  #giveUp(ticket: Ticket): void {
    const { mutant, onDead } = this.#options;
    ticket.isDead = true;
    const holdsLane = ticket.delivery.webhookId === HOLDING && (ticket.isBarrier || laneKeys(ticket).length > 0);
    onDead(ticket.delivery.id, holdsLane);
    ticket.holdsLane = holdsLane && mutant !== "hold-ignored";
    this.#record(ticket, "dead");
    if (ticket.holdsLane) this.#lanes.park(ticket);
    else this.#lanes.end(ticket);
  }

  #record(ticket: Ticket, outcome: "delivered" | "retry" | "dead"): void {
    this.#tracker.record(ticket, unsentRecord(ticket.delivery, outcome, "", this.#nowMs));
  }

  #any(state: Ticket["state"]): Ticket | undefined {
    const tickets = this.#active.filter((ticket) => ticket.state === state);
    return tickets[this.#options.dice.below(tickets.length)];
  }

  /** Planned, written, taken note of, acknowledged: with a crash possible after each. */
  #checkpoint(): void {
    const { database, mutant } = this.#options;
    const plan = this.#plan;
    if (plan === null) {
      this.#plan = this.#tracker.plan(this.#nowMs);
      this.#stage = 0;
      for (const { ticket, isSending } of this.#plan?.enqueue ?? []) {
        if (isSending) this.#claimed.add(ticket.delivery.id);
      }
      if (this.#plan !== null && mutant === "acknowledge-early") database.confirmedFlushLsn = this.#plan.flushLsn;
      return;
    }
    this.#stage++;
    if (this.#stage === 1) {
      if (plan.isWorthWriting) this.#write(plan);
    } else if (this.#stage === 2) {
      if (mutant === "cursor-outside") database.position = plan.position;
      this.#forgettable.push(...this.#tracker.committed(plan));
      for (const { ticket } of plan.requeue) this.#claimed.delete(ticket.delivery.id);
      for (const { delivery } of plan.dequeue) this.#claimed.delete(delivery.id);
    } else {
      if (plan.flushLsn > database.confirmedFlushLsn) database.confirmedFlushLsn = plan.flushLsn;
      this.#plan = null;
    }
  }

  #write(plan: CheckpointPlan): void {
    const { database, mutant } = this.#options;
    const repairs = plan.configuration.map((effect) => this.#repairOf.get(effect)!);
    const before = database.position;
    database.write(plan, { changeOf: this.#changeOf, repairs, claimed: this.#claimed, nowMs: this.#nowMs });
    if (mutant === "cursor-outside") database.position = before;
  }
}
