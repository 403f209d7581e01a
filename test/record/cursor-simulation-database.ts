import { findMovedSlot } from "../../src/slot/find-gap.ts";
import type { GapFacts } from "../../src/slot/gap-facts.ts";
import { START, type Position } from "../../src/decode/position.ts";
import type { AttemptRecord } from "../../src/deliver/attempt-record.ts";
import type { Ticket } from "../../src/deliver/ticket.ts";
import type { CheckpointPlan } from "../../src/record/checkpoint-plan.ts";
import type { Lsn } from "../../src/replication/lsn.ts";
import { MAX_DELIVERIES, MAX_TRANSACTIONS, type SimulatedWal, lsnAt, placeOf } from "./cursor-simulation-wal.ts";

/** What the queue table holds of a delivery. */
const [NO_ROW, WAITING, DEAD_LETTER] = [0, 1, 2];
/** Behind every change of a transaction. */
const END = Number.MAX_SAFE_INTEGER;

/** The stored cursor as a bridge reads it. */
export interface StoredCursor {
  readonly position: Position;
  readonly flushLsn: Lsn;
}

/**
 * What survives a crash of the bridge: log, queue, what is in force, cursor and epoch, and the slot. Knows on its
 * own, without the code under test, what a restart would send again, and what is wrong with that.
 */
export class SimulatedDatabase {
  readonly #wal: SimulatedWal;
  /** The first thing that went wrong. */
  problem: string | null = null;
  epoch = 0;
  /** Where an orderly stop left the slot. */
  stopped: Lsn | null = null;
  cursor: StoredCursor = { position: START, flushLsn: lsnAt(0) };
  /** The slot's confirmed_flush_lsn in memory, and what of it a crash of the server leaves. */
  confirmed = 0;
  savedConfirmed = 0;
  /** Rows of the queue that wait. */
  waiting = 0;
  /** The stored position. */
  #commit = 0;
  #lsn = 0;
  #index = 0;
  /** By delivery: rows of the log that say how it ended; its row of the queue. */
  readonly #ends = new Uint8Array(MAX_DELIVERIES);
  readonly #queue = new Uint8Array(MAX_DELIVERIES);
  /** By transaction: how often its configuration was stored. */
  readonly #configured = new Uint8Array(MAX_TRANSACTIONS);

  constructor(wal: SimulatedWal) {
    this.#wal = wal;
  }

  /** As installed, before the log begins. */
  reset(confirmed: number): void {
    this.problem = null;
    this.epoch = 0;
    this.stopped = null;
    this.cursor = { position: START, flushLsn: lsnAt(0) };
    this.confirmed = this.savedConfirmed = confirmed;
    this.waiting = this.#commit = this.#lsn = this.#index = 0;
    this.#ends.fill(0);
    this.#queue.fill(0);
    this.#configured.fill(0);
  }

  fail(problem: string): void {
    this.problem ??= problem;
  }

  writeRows({ records, enqueue, requeue, dequeue, configuration }: CheckpointPlan): void {
    for (const record of records) this.log(record);
    for (const { ticket, isDead } of enqueue) this.#put(ticket, isDead ? DEAD_LETTER : WAITING);
    for (const { ticket, isDead } of requeue) this.#put(ticket, isDead ? DEAD_LETTER : WAITING);
    for (const ticket of dequeue) this.#put(ticket, NO_ROW);
    for (const { removed } of configuration) {
      for (const t of removed) this.#configured[t] = (this.#configured[t] as number) + 1;
    }
  }

  log({ delivery, outcome }: AttemptRecord): void {
    const n = delivery.webhookId;
    if (outcome !== "retry") this.#ends[n] = (this.#ends[n] as number) + 1;
  }

  writeCursor({ position, flushLsn }: CheckpointPlan): void {
    this.cursor = { position, flushLsn };
    if (position.commitLsn === 0n) return;
    this.#commit = placeOf(position.commitLsn);
    this.#lsn = position.changeLsn === 0xffff_ffff_ffff_ffffn ? END : placeOf(position.changeLsn);
    this.#index = position.index;
  }

  /** A status of the bridge: the slot takes it for what it says. */
  confirm(place: number): void {
    if (place < this.confirmed) this.fail("the acknowledgement goes back");
    this.confirmed = place;
    const { size, commit } = this.#wal;
    for (let t = 0; t < size && (commit[t] as number) < place; t++) {
      if (!this.#isTransactionDurable(t)) return this.fail(`transaction ${t} is acknowledged and not durable`);
    }
  }

  /** As `showStopped`. */
  stop(epoch: number, acknowledged: Lsn): void {
    if (this.epoch !== epoch) return;
    this.stopped = acknowledged;
    const { position, flushLsn } = this.cursor;
    this.cursor = { position, flushLsn: acknowledged > flushLsn ? acknowledged : flushLsn };
  }

  /** As `requireUnmoved`: whether somebody else has moved the slot. */
  isMoved(acknowledged: Lsn | null): boolean {
    const slot = { state: "ready", confirmedFlushLsn: lsnAt(this.confirmed) };
    const facts = { slot, slotName: "s", flushLsn: this.cursor.flushLsn, stoppedLsn: this.stopped };
    return findMovedSlot(facts as unknown as GapFacts, acknowledged) !== null;
  }

  /** The server crashes: the slot forgets what it had not written down. */
  forget(): void {
    this.confirmed = this.savedConfirmed;
  }

  isWaiting(n: number): boolean {
    return this.#queue[n] === WAITING;
  }

  /** Whether a delivery has ended or goes on from the queue, whatever happens to the bridge. */
  isDurable(n: number): boolean {
    return this.#queue[n] !== NO_ROW || (this.#ends[n] as number) > 0;
  }

  /** Whether the cursor stands inside of a transaction. */
  get isInside(): boolean {
    return this.#commit > 0 && this.#lsn < END;
  }

  /** What the server sends again, less what the cursor has passed, has to be what is not durable: no more, no less. */
  checkRestart(): void {
    const { size, first, deliveries, configured, commit } = this.#wal;
    for (let t = 0; t < size; t++) {
      const isSent = (commit[t] as number) >= this.confirmed;
      const isAhead = isSent && !this.#hasPassed(commit[t] as number, END - 1, 0);
      if (configured[t] !== 0 && isAhead === (this.#configured[t] === 1)) {
        this.fail(`the configuration of transaction ${t} ${isAhead ? "will be stored again" : "is lost"}`);
      }
      for (let c = first[t] as number; c < (first[t + 1] as number); c++) {
        const isMade =
          isSent && !this.#hasPassed(commit[t] as number, this.#wal.lsn[c] as number, this.#wal.index[c] as number);
        for (let n = 2 * c; n < 2 * c + (deliveries[c] as number); n++) {
          if (isMade === this.isDurable(n)) this.fail(`delivery ${n} ${isMade ? "will be made again" : "is lost"}`);
        }
      }
    }
  }

  /** Nothing is left to do: each delivery has ended once, each configuration is stored once, all is acknowledged. */
  checkEnd(): void {
    const { size, first, deliveries, configured, tail } = this.#wal;
    for (let t = 0; t < size; t++) {
      if (configured[t] !== 0 && this.#configured[t] !== 1) {
        this.fail(`the configuration of transaction ${t} is stored ${this.#configured[t]} times`);
      }
      for (let c = first[t] as number; c < (first[t + 1] as number); c++) {
        for (let n = 2 * c; n < 2 * c + (deliveries[c] as number); n++) {
          if (this.#ends[n] !== 1) this.fail(`the log says ${this.#ends[n]} times how delivery ${n} ended`);
        }
      }
    }
    if (this.confirmed < tail) this.fail("the end of the log is not acknowledged");
  }

  /** Whether the stored position is at or behind a place. */
  #hasPassed(commit: number, lsn: number, index: number): boolean {
    if (commit !== this.#commit) return commit < this.#commit;
    return lsn === this.#lsn ? index <= this.#index : lsn < this.#lsn;
  }

  #isTransactionDurable(t: number): boolean {
    const { first, deliveries, configured } = this.#wal;
    for (let c = first[t] as number; c < (first[t + 1] as number); c++) {
      for (let n = 2 * c; n < 2 * c + (deliveries[c] as number); n++) if (!this.isDurable(n)) return false;
    }
    return configured[t] === 0 || this.#configured[t] === 1;
  }

  #put(ticket: Ticket, row: number): void {
    const n = ticket.delivery.webhookId;
    if (this.#queue[n] === WAITING) this.waiting--;
    if (row === WAITING) this.waiting++;
    this.#queue[n] = row;
  }
}
