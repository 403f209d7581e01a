import { comparePositions, START, type Position } from "../decode/position.ts";
import type { AttemptRecord } from "../deliver/attempt-record.ts";
import type { Batch } from "../deliver/parcel.ts";
import { blocksLane, type Ticket } from "../deliver/ticket.ts";
import type { Lsn } from "../replication/lsn.ts";
import { MAX_UNSTORED_BYTES } from "../slot/find-gap.ts";
import type { Progress } from "../backfill/progress.ts";
import type { AdmittedChunk, CheckpointPlan, ConfigurationEffect, QueueState } from "./checkpoint-plan.ts";

interface Entry {
  readonly chunk: AdmittedChunk;
  readonly admittedAtMs: number;
  /** Tickets before this index are settled. */
  settled: number;
}

/**
 * Which part of the stream is durable. Chunks enter in stream order and leave in stream order, a prefix at
 * a time: a chunk may leave when each of its deliveries has ended or goes on from the queue, or when it is
 * older than the grace; then what is still open gets a queue row.
 *
 * Log rows of deliveries above the cursor stay with their tickets, since a crash would send those
 * deliveries again and log them twice. One plan at a time: `plan`, write, `committed`.
 */
export class Tracker {
  readonly #entries: Entry[] = [];
  /** Number of the first entry: how many have left. */
  #first = 0;
  readonly #graceMs: number;
  readonly #park: (ticket: Ticket) => void;
  /** Durable tickets that changed since the last plan. */
  #touched = new Set<Ticket>();
  #durableRecords: AttemptRecord[] = [];
  #position: Position;
  #flushLsn: Lsn;
  #storedFlushLsn: Lsn;

  /**
   * @param start where the stored cursor stands
   * @param park stops a delivery that has not started, so that it goes on from the queue
   */
  constructor(start: { position: Position; flushLsn: Lsn } | null, graceMs: number, park: (ticket: Ticket) => void) {
    this.#position = start?.position ?? START;
    this.#flushLsn = start?.flushLsn ?? 0n;
    this.#storedFlushLsn = this.#flushLsn;
    this.#graceMs = graceMs;
    this.#park = park;
  }

  /** @param nowMs by a clock that nobody sets back: the cursor waits for the grace */
  admit(chunk: AdmittedChunk, nowMs: number): void {
    const number = this.#first + this.#entries.length;
    for (const ticket of chunk.tickets) ticket.chunk = number;
    this.#entries.push({ chunk, admittedAtMs: nowMs, settled: 0 });
  }

  /** A log row came into being for this delivery. */
  record(ticket: Ticket, record: AttemptRecord): void {
    if (ticket.isDurable) this.#durableRecords.push(record);
    else ticket.records.push(record);
  }

  /** A delivery with a queue row ended, or is parked once more. */
  touch(ticket: Ticket): void {
    if (ticket.isDurable) this.#touched.add(ticket);
  }

  /** Deliveries that no checkpoint has passed yet. */
  *deliveries(): Generator<Ticket> {
    for (const { chunk } of this.#entries) yield* chunk.tickets;
  }

  /** Chunks that wait to become durable. */
  get depth(): number {
    return this.#entries.length;
  }

  /** When the oldest chunk's grace ends, in ms by the clock that `admit` was told; null when nothing waits. */
  get nextDeadlineMs(): number | null {
    const first = this.#entries[0];
    return first === undefined ? null : first.admittedAtMs + this.#graceMs;
  }

  /** What can be made durable now; null when that is nothing. `graceMs: 0` passes everything, as on shutdown. */
  plan(nowMs: number, graceMs: number = this.#graceMs): CheckpointPlan | null {
    const passed = this.#withWholeBatches(this.#passable(nowMs, graceMs));
    if (passed === 0 && this.#touched.size === 0 && this.#durableRecords.length === 0) return null;
    const records = this.#durableRecords;
    const enqueue: QueueState[] = [];
    const configuration: ConfigurationEffect[] = [];
    const backfills: Progress[] = [];
    let bytes = 0;
    let tickets = 0;
    this.#first += passed;
    for (const { chunk } of this.#entries.splice(0, passed)) {
      // A chunk that holds nothing but a keepalive may know an older place, or none.
      if (comparePositions(chunk.position, this.#position) > 0) this.#position = chunk.position;
      if (chunk.flushLsn > this.#flushLsn) this.#flushLsn = chunk.flushLsn;
      bytes += chunk.bytes;
      tickets += chunk.tickets.length;
      if (chunk.configuration !== null) configuration.push(chunk.configuration);
      if (chunk.backfill !== undefined) backfills.push(chunk.backfill);
      for (const ticket of chunk.tickets) {
        for (const record of ticket.records) records.push(record);
        ticket.records = [];
        if (ticket.state !== "ended" || ticket.isDead) enqueue.push(queueState(ticket));
      }
    }
    const requeue: QueueState[] = [];
    const dequeue: Ticket[] = [];
    for (const ticket of this.#touched) {
      if (ticket.state === "ended" && !ticket.isDead) dequeue.push(ticket);
      else requeue.push(queueState(ticket));
    }
    this.#durableRecords = [];
    this.#touched = new Set();
    const happened = records.length + enqueue.length + requeue.length + dequeue.length + configuration.length;
    const lag = this.#flushLsn - this.#storedFlushLsn;
    return {
      position: this.#position,
      flushLsn: this.#flushLsn,
      bytes,
      tickets,
      records,
      enqueue,
      requeue,
      dequeue,
      configuration,
      ...(backfills.length === 0 ? {} : { backfills }),
      isWorthWriting: happened + backfills.length > 0 || lag > MAX_UNSTORED_BYTES,
    };
  }

  /** The plan is durable. Returns the parked tickets that memory may forget. */
  committed(plan: CheckpointPlan): readonly Ticket[] {
    if (plan.isWorthWriting) this.#storedFlushLsn = plan.flushLsn;
    const forgotten: Ticket[] = [];
    for (const state of plan.enqueue) {
      const { ticket, isSending } = state;
      ticket.isDurable = true;
      if (!isSending) {
        if (blocksLane(state)) forgotten.push(ticket);
        continue;
      }
      // The attempt may have ended while the checkpoint was being written.
      for (const record of ticket.records) this.#durableRecords.push(record);
      ticket.records = [];
      if (ticket.state !== "sending") this.#touched.add(ticket);
    }
    for (const state of plan.requeue) if (blocksLane(state)) forgotten.push(state.ticket);
    return forgotten;
  }

  #passable(nowMs: number, graceMs: number): number {
    let passed = 0;
    for (const entry of this.#entries) {
      if (!isSettled(entry)) {
        if (nowMs - entry.admittedAtMs < graceMs) break;
        this.#parkWaiting(entry);
      }
      passed++;
    }
    return passed;
  }

  /**
   * A batch that is open becomes durable whole, or a crash would leave some of its deliveries in the queue and send
   * the others anew in another one: more chunks pass where one reaches into them, none where its last is still to come.
   */
  #withWholeBatches(passed: number): number {
    const seen = new Set<Batch>();
    let reach = passed;
    for (let at = 0; at < reach; at++) {
      for (const { batch, state } of this.#entries[at]!.chunk.tickets) {
        if (batch === null || state === "ended" || seen.has(batch)) continue;
        seen.add(batch);
        for (const { isDurable, chunk } of batch.tickets) {
          if (isDurable) continue;
          if (chunk === null) return 0;
          reach = Math.max(reach, chunk - this.#first + 1);
        }
      }
    }
    for (const entry of this.#entries.slice(passed, reach)) this.#parkWaiting(entry);
    return reach;
  }

  #parkWaiting({ chunk }: Entry): void {
    for (const ticket of chunk.tickets) {
      if (ticket.state === "waiting" || ticket.state === "ready") this.#park(ticket);
    }
  }
}

function isSettled(entry: Entry): boolean {
  const { tickets } = entry.chunk;
  while (entry.settled < tickets.length) {
    const state = tickets[entry.settled]?.state;
    if (state !== "ended" && state !== "parked") return false;
    entry.settled++;
  }
  return true;
}

function queueState(ticket: Ticket): QueueState {
  const { attempts, dueAtMs, lastError, isDead, holdsLane } = ticket;
  return { ticket, attempts, dueAtMs, lastError, isDead, holdsLane, isSending: ticket.state === "sending" };
}
