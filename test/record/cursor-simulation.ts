import type { Chunk, ConfigurationTable } from "../../src/decode/chunk.ts";
import { ChunkBuilder } from "../../src/decode/chunk-builder.ts";
import type { Pending } from "../../src/decode/pending.ts";
import type { RelationMessage } from "../../src/decode/pgoutput-message.ts";
import { START, type Position } from "../../src/decode/position.ts";
import type { Relation } from "../../src/decode/relation.ts";
import { RelationTracker } from "../../src/decode/relation-tracker.ts";
import { TransactionReader } from "../../src/decode/transaction-reader.ts";
import { unsentRecord, type AttemptRecord } from "../../src/deliver/attempt-record.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";
import { endsInConfiguration, mergeEventChunks, type EventChunk } from "../../src/events/event-chunk.ts";
import { Tracker, type CheckpointPlan, type ConfigurationEffect } from "../../src/record/tracker.ts";
import type { Delivery } from "../../src/render/delivery.ts";
import { Acknowledger } from "../../src/replication/acknowledger.ts";
import { CONFIGURATION_OID, DATA_OID, SimulatedSender } from "./cursor-simulation-server.ts";
import { MAX_DELIVERIES, SimulatedWal, lsnAt, offsetOf } from "./cursor-simulation-wal.ts";
import { seeded } from "./seeded.ts";

/** Known mistakes, made around the real classes, to see that the simulation would find them. */
export const MUTANTS = [
  "acknowledge-plus-one",
  "acknowledge-received",
  "keepalive-ahead",
  "cursor-outside",
  "log-above-cursor",
  "acknowledge-before-durable",
] as const;
export type Mutant = (typeof MUTANTS)[number] | null;

const CONFIGURATION_OIDS: ReadonlyMap<number, ConfigurationTable> = new Map([[CONFIGURATION_OID, "webhook"]]);
const DATA: RelationMessage = { tag: "relation", oid: DATA_OID, schema: "s", name: "t", identity: "d", columns: [] };
const CONFIGURATION: RelationMessage = {
  ...DATA,
  oid: CONFIGURATION_OID,
  columns: [{ name: "transaction", isKey: true, typeOid: 25, typeModifier: -1 }],
};
const RELATION: Relation = {
  oid: DATA_OID,
  schema: "s",
  table: "t",
  doctype: "t",
  columns: [],
  keyIndexes: [],
  docstatusIndex: -1,
  omitted: [],
  isPartitioned: false,
};
const NOTHING_CHANGED: ConfigurationEffect["changed"] = new Map();
const GRACE_MS = 3;

/** Delivery `n` has the number n as its webhook. */
const DELIVERIES: readonly Delivery[] = Array.from({ length: MAX_DELIVERIES }, (_, webhookId) => ({
  id: String(webhookId),
  webhookId,
  webhookName: "w",
  doctype: "t",
  docname: null,
  oldDocname: null,
  docevent: "on_update",
  source: "live",
  position: START,
  xid: 1,
  commitTimeUs: 0n,
  isOrdered: true,
}));
const DELIVERED = DELIVERIES.map((delivery) => unsentRecord(delivery, "delivered", "", 0));
const RETRY = DELIVERIES.map((delivery) => unsentRecord(delivery, "retry", "", 0));
const DEAD = DELIVERIES.map((delivery) => unsentRecord(delivery, "dead", "", 0));

/** What the queue table holds of a delivery. */
const [NO_ROW, WAITING, DEAD_LETTER] = [0, 1, 2];
/** Behind every change of a transaction. */
const END = Number.MAX_SAFE_INTEGER;

/**
 * The cursor under crashes: a log of transactions, a server that sends them from the acknowledged LSN on, and a
 * bridge that decodes, delivers, makes checkpoints and acknowledges, with a crash between any two steps. Reader, chunk
 * builder, tracker and acknowledger are the real ones; server, database and receivers are a few arrays. No clock
 * and no I/O: a schedule is a seed. One instance runs many schedules, one after the other.
 */
export class CursorSimulation {
  readonly #mutant: Mutant;
  readonly #wal = new SimulatedWal();
  #random: () => number = () => 0;
  readonly #below = (n: number): number => Math.floor(this.#random() * n);
  #problem: string | null = null;
  crashes = 0;
  steps = 0;

  // What survives a crash of the bridge.
  /** The stored cursor, as offsets. */
  #cursorCommit = 0;
  #cursorLsn = 0;
  #cursorIndex = 0;
  #storedPosition: Position = START;
  #storedFlush = 0;
  /** By delivery: rows of the log that say how it ended; its row of the queue. */
  readonly #ends = new Uint8Array(MAX_DELIVERIES);
  readonly #queue = new Uint8Array(MAX_DELIVERIES);
  #waiting = 0;
  /** By transaction: how often its configuration was stored. */
  readonly #configured = new Uint8Array(16);
  /** What the slot has in memory, and what of it a crash of the server leaves. */
  #confirmed = 0;
  #savedConfirmed = 0;

  // What does not.
  #sender!: SimulatedSender;
  #reader!: TransactionReader;
  #builder!: ChunkBuilder;
  #tracker!: Tracker;
  #acknowledger!: Acknowledger;
  #pending: Pending[] = [];
  #head = 0;
  #chunks: EventChunk[] = [];
  #open: Ticket[] = [];
  /** Every ticket that came from the stream. */
  #made: Ticket[] = [];
  readonly #claimed = new Uint8Array(MAX_DELIVERIES);
  #plan: CheckpointPlan | null = null;
  #stage = 0;
  #isCursorFirst = false;
  /** A status that is on its way to the server, or -1. */
  #status = -1;
  #nowMs = 0;

  constructor(mutant: Mutant = null) {
    this.#mutant = mutant;
  }

  /** Runs one schedule. Returns what went wrong, or null. */
  run(seed: number): string | null {
    this.#random = seeded(seed);
    this.#reset();
    const crashes = this.#below(4);
    for (let crash = 0; crash < crashes && this.#problem === null; crash++) {
      this.#start();
      const steps = this.#below(80);
      for (let step = 0; step < steps && this.#problem === null; step++) this.#step();
      this.steps += steps;
      this.#crash();
    }
    if (this.#problem === null) {
      this.#start();
      this.#drain();
      this.#checkEnd();
    }
    this.#acknowledger.close();
    return this.#problem;
  }

  #reset(): void {
    this.#problem = null;
    this.#wal.generate(this.#below);
    this.#cursorCommit = this.#cursorLsn = this.#cursorIndex = this.#storedFlush = 0;
    this.#storedPosition = START;
    this.#ends.fill(0);
    this.#queue.fill(0);
    this.#configured.fill(0);
    this.#waiting = 0;
    this.#confirmed = this.#savedConfirmed = this.#below(20);
    this.#nowMs = 0;
  }

  #start(): void {
    this.#sender = new SimulatedSender(this.#wal, this.#confirmed, this.#below);
    const relations = new RelationTracker(() => {});
    relations.describe(DATA);
    relations.describe(CONFIGURATION);
    relations.forgetOrder();
    this.#reader = new TransactionReader(relations, CONFIGURATION_OIDS, this.#storedPosition);
    this.#builder = new ChunkBuilder(this.#storedPosition);
    const start = { position: this.#storedPosition, flushLsn: lsnAt(this.#storedFlush) };
    this.#tracker = new Tracker(start, GRACE_MS, park);
    this.#acknowledger = new Acknowledger(lsnAt(this.#confirmed), (lsn) => this.#send(lsn));
    this.#pending = [];
    this.#head = 0;
    this.#chunks = [];
    this.#open = [];
    this.#made = [];
    this.#claimed.fill(0);
    this.#plan = null;
    this.#status = -1;
  }

  /** Whatever was only in memory is gone; a status on its way may arrive all the same. */
  #crash(): void {
    this.crashes++;
    this.#acknowledger.close();
    if (this.#below(2) === 0) this.#arrive();
    // The server itself: its slot forgets what it had not written down.
    if (this.#below(6) === 0) this.#confirmed = this.#savedConfirmed;
    this.#checkCrash();
  }

  #step(): void {
    switch (this.#below(16)) {
      case 0:
      case 1:
      case 2:
        return this.#receive(1 + this.#below(4));
      case 3:
      case 4:
        return this.#handOn(1 + this.#below(6));
      case 5:
      case 6:
        return this.#admit();
      case 7:
      case 8:
      case 9:
      case 10:
        return this.#deliver(this.#below(3) > 0);
      case 11:
      case 12:
      case 13:
        return this.#checkpoint();
      case 14:
        return this.#fetch(this.#below(MAX_DELIVERIES));
      default:
        return this.#pass();
    }
  }

  /** Time passes: graces end, statuses are sent and arrive. */
  #pass(): void {
    this.#nowMs += this.#below(3);
    if (this.#below(3) === 0) this.#acknowledger.sendNow(false);
    if (this.#below(2) === 0) this.#arrive();
    if (this.#below(4) === 0) this.#savedConfirmed = this.#confirmed;
  }

  #receive(frames: number): void {
    for (let i = 0; i < frames; i++) {
      if (this.#sender.isDone && this.#below(2) === 0) return;
      const frame = this.#sender.next();
      if (this.#mutant === "keepalive-ahead" && frame.kind === "keepalive" && this.#pending.length > this.#head) {
        this.#builder.addFlushLsn(frame.lsn);
        continue;
      }
      this.#reader.read(frame, this.#pending);
      const last = this.#pending.at(-1);
      if (this.#mutant === "acknowledge-received" && last?.type === "commit")
        this.#acknowledger.acknowledge(last.endLsn);
    }
  }

  /** As the decoder hands on what waited for the catalog; a chunk may end anywhere. */
  #handOn(count: number): void {
    for (let i = 0; i < count && this.#head < this.#pending.length; i++) {
      const pending = this.#pending[this.#head++] as Pending;
      if (pending.type === "change") this.#builder.addChange(pending, RELATION);
      else if (pending.type === "keepalive") this.#builder.addFlushLsn(pending.lsn);
      else {
        this.#builder.addCommit(pending);
        if (pending.configuration.length > 0) this.#emit();
      }
      if (this.#below(4) === 0) this.#emit();
    }
    if (this.#head < this.#pending.length) return;
    this.#pending = [];
    this.#head = 0;
    if (this.#below(4) === 0) this.#emit();
  }

  /** What arrives while an earlier chunk is being matched is merged. */
  #emit(): void {
    const chunk = this.#builder.take();
    if (chunk === null) return;
    const { changes, ...place }: Chunk = chunk;
    const events = { ...place, events: changes as unknown as EventChunk["events"] };
    const last = this.#chunks.at(-1);
    if (last === undefined || endsInConfiguration(last) || this.#below(2) === 0) this.#chunks.push(events);
    else this.#chunks[this.#chunks.length - 1] = mergeEventChunks(last, events);
  }

  #admit(): void {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return;
    const tickets: Ticket[] = [];
    for (const { position } of chunk.events as unknown as Chunk["changes"]) {
      const change = this.#wal.changeAt(offsetOf(position.commitLsn), offsetOf(position.changeLsn), position.index);
      if (change < 0) this.#fail("a change has a place that the log does not know");
      for (let n = 2 * change; n < 2 * change + (this.#wal.deliveries[change] as number); n++) {
        tickets.push(this.#newTicket(n));
      }
    }
    let configuration: ConfigurationEffect | null = null;
    if (chunk.configuration.length > 0) {
      const t = Number(chunk.configuration[0]?.row["transaction"]);
      if (chunk.configuration.length !== this.#wal.configured[t]) this.#fail("a configuration is not whole");
      configuration = { changed: NOTHING_CHANGED, removed: [t] };
    }
    const { position, flushLsn, bytes } = chunk;
    this.#tracker.admit({ position, flushLsn, bytes, tickets, configuration }, this.#nowMs);
  }

  /** Most are ready; some lanes stand in the queue already; some cannot be sent at all. */
  #newTicket(n: number): Ticket {
    if (this.#isDurable(n)) this.#fail(`delivery ${n} is made again`);
    const ticket = newTicket(DELIVERIES[n] as Delivery, null);
    const luck = this.#below(12);
    ticket.state = luck === 0 ? "parked" : luck === 1 ? "ended" : luck === 2 ? "waiting" : "ready";
    if (luck === 1) this.#tracker.record(ticket, DEAD[n] as AttemptRecord);
    if (luck > 1) this.#open.push(ticket);
    if (this.#mutant === "log-above-cursor") this.#made.push(ticket);
    return ticket;
  }

  /** One step of any open delivery: it becomes ready, is sent, and ends or is parked. */
  #deliver(succeeds: boolean): void {
    if (this.#open.length === 0) return;
    const at = this.#below(this.#open.length);
    const ticket = this.#open[at] as Ticket;
    if (ticket.state === "waiting") ticket.state = "ready";
    else if (ticket.state === "ready") ticket.state = "sending";
    else {
      if (ticket.state === "sending") this.#conclude(ticket, succeeds);
      this.#open[at] = this.#open.at(-1) as Ticket;
      this.#open.pop();
    }
  }

  #conclude(ticket: Ticket, succeeds: boolean): void {
    const n = ticket.delivery.webhookId;
    ticket.attempts++;
    ticket.isDead = !succeeds && this.#below(4) === 0;
    ticket.state = succeeds || ticket.isDead ? "ended" : "parked";
    this.#tracker.record(ticket, (succeeds ? DELIVERED : ticket.isDead ? DEAD : RETRY)[n] as AttemptRecord);
    if (ticket.state === "parked") ticket.dueAtMs = this.#nowMs;
    this.#tracker.touch(ticket);
  }

  /** Takes a row of the queue, if that delivery has one that nobody is dealing with. */
  #fetch(n: number): void {
    if (this.#queue[n] !== WAITING || this.#claimed[n] === 1) return;
    this.#claimed[n] = 1;
    const ticket = newTicket(DELIVERIES[n] as Delivery, null);
    ticket.isDurable = true;
    ticket.state = "ready";
    this.#open.push(ticket);
  }

  /** Planned, written, taken note of, acknowledged: one of them at a time. */
  #checkpoint(): void {
    if (this.#plan === null) {
      this.#plan = this.#tracker.plan(this.#nowMs);
      this.#stage = 0;
      if (this.#plan === null) return;
      for (const { ticket, isSending } of this.#plan.enqueue) {
        if (isSending) this.#claimed[ticket.delivery.webhookId] = 1;
      }
      this.#isCursorFirst = this.#below(2) === 0;
      if (this.#mutant === "acknowledge-before-durable") this.#acknowledger.acknowledge(this.#plan.flushLsn);
      return;
    }
    const plan = this.#plan;
    const isApart = this.#mutant === "cursor-outside";
    switch (this.#stage++) {
      case 0:
        if (!plan.isWorthWriting) return;
        if (!isApart || !this.#isCursorFirst) this.#writeRows(plan);
        if (!isApart || this.#isCursorFirst) this.#writeCursor(plan);
        return;
      case 1:
        if (!isApart || !plan.isWorthWriting) return;
        if (this.#isCursorFirst) this.#writeRows(plan);
        else this.#writeCursor(plan);
        return;
      case 2:
        this.#tracker.committed(plan);
        for (const { ticket } of plan.requeue) this.#claimed[ticket.delivery.webhookId] = 0;
        for (const { delivery } of plan.dequeue) this.#claimed[delivery.webhookId] = 0;
        return;
      default:
        this.#acknowledger.acknowledge(plan.flushLsn);
        this.#plan = null;
    }
  }

  #writeRows(plan: CheckpointPlan): void {
    for (const record of plan.records) this.#log(record);
    for (const { ticket, isDead } of plan.enqueue) this.#putIntoQueue(ticket, isDead ? DEAD_LETTER : WAITING);
    for (const { ticket, isDead } of plan.requeue) this.#putIntoQueue(ticket, isDead ? DEAD_LETTER : WAITING);
    for (const ticket of plan.dequeue) this.#putIntoQueue(ticket, NO_ROW);
    for (const { removed } of plan.configuration) {
      for (const t of removed) this.#configured[t] = (this.#configured[t] as number) + 1;
    }
    if (this.#mutant !== "log-above-cursor") return;
    for (const { records } of this.#made.filter(({ isDurable }) => !isDurable)) {
      for (const record of records.splice(0)) this.#log(record);
    }
  }

  #log(record: AttemptRecord): void {
    const n = record.delivery.webhookId;
    if (record.outcome !== "retry") this.#ends[n] = (this.#ends[n] as number) + 1;
  }

  #putIntoQueue(ticket: Ticket, row: number): void {
    const n = ticket.delivery.webhookId;
    if (this.#queue[n] === WAITING) this.#waiting--;
    if (row === WAITING) this.#waiting++;
    this.#queue[n] = row;
  }

  #writeCursor({ position, flushLsn }: CheckpointPlan): void {
    this.#storedPosition = position;
    this.#storedFlush = Math.max(0, offsetOf(flushLsn));
    this.#cursorCommit = position.commitLsn === 0n ? 0 : offsetOf(position.commitLsn);
    this.#cursorLsn = position.changeLsn > lsnAt(1000) ? END : offsetOf(position.changeLsn);
    this.#cursorIndex = position.index;
  }

  /** The library's way: what is written to the wire is the LSN it was given plus one. */
  #send(text: string): void {
    const slash = text.indexOf("/");
    const lsn = (BigInt(Number.parseInt(text.slice(0, slash), 16)) << 32n) | BigInt(`0x${text.slice(slash + 1)}`);
    this.#arrive();
    this.#status = offsetOf(lsn) + (this.#mutant === "acknowledge-plus-one" ? 2 : 1);
  }

  /** The server takes a status for what it says. */
  #arrive(): void {
    if (this.#status < 0) return;
    if (this.#status < this.#confirmed) this.#fail("the acknowledgement goes back");
    this.#confirmed = this.#status;
    this.#status = -1;
    const { size, commit } = this.#wal;
    for (let t = 0; t < size && (commit[t] as number) < this.#confirmed; t++) {
      if (!this.#isTransactionDurable(t)) return this.#fail(`transaction ${t} is acknowledged and not durable`);
    }
  }

  #isDurable(n: number): boolean {
    return this.#queue[n] !== NO_ROW || (this.#ends[n] as number) > 0;
  }

  #isTransactionDurable(t: number): boolean {
    const { first, deliveries, configured } = this.#wal;
    for (let c = first[t] as number; c < (first[t + 1] as number); c++) {
      for (let k = 0; k < (deliveries[c] as number); k++) if (!this.#isDurable(2 * c + k)) return false;
    }
    return configured[t] === 0 || this.#configured[t] === 1;
  }

  /** What the server will send again, less what the stored cursor has passed, is what is not durable: no more, no less. */
  #checkCrash(): void {
    const { size, first, lsn, index, deliveries, configured, commit } = this.#wal;
    for (let t = 0; t < size; t++) {
      const at = commit[t] as number;
      const isSent = at >= this.#confirmed;
      const isAhead = at > this.#cursorCommit || (at === this.#cursorCommit && this.#cursorLsn < END);
      if (configured[t] !== 0 && (isSent && isAhead) === (this.#configured[t] === 1)) {
        this.#fail(`the configuration of transaction ${t} is ${isSent && isAhead ? "stored twice" : "lost"}`);
      }
      for (let c = first[t] as number; c < (first[t + 1] as number); c++) {
        const isBehind =
          at < this.#cursorCommit ||
          (at === this.#cursorCommit &&
            ((lsn[c] as number) < this.#cursorLsn ||
              (lsn[c] === this.#cursorLsn && (index[c] as number) <= this.#cursorIndex)));
        const isMade = isSent && !isBehind;
        for (let n = 2 * c; n < 2 * c + (deliveries[c] as number); n++) {
          if (isMade === this.#isDurable(n)) this.#fail(`delivery ${n} ${isMade ? "will be made again" : "is lost"}`);
        }
      }
    }
  }

  /** Everything works until there is nothing left to do. */
  #drain(): void {
    for (let round = 0; this.#problem === null; round++) {
      if (round > 200) return this.#fail("it does not come to an end");
      this.#receive(8);
      this.#handOn(12);
      if (this.#head === this.#pending.length) this.#emit();
      this.#admit();
      for (let i = 0; i < 8; i++) this.#deliver(true);
      this.#nowMs++;
      for (let i = 0; i < 5; i++) this.#checkpoint();
      const isDrained = this.#sender.isDone && this.#pending.length === 0 && this.#chunks.length === 0;
      if (!isDrained || this.#tracker.depth > 0 || this.#open.length > 0 || this.#plan !== null) continue;
      if (this.#waiting === 0) break;
      for (let n = 0; n < MAX_DELIVERIES; n++) this.#fetch(n);
    }
    while (this.#plan !== null) this.#checkpoint();
    this.#acknowledger.sendNow(false);
    this.#arrive();
  }

  #checkEnd(): void {
    const { size, first, deliveries, configured, tail } = this.#wal;
    for (let t = 0; t < size; t++) {
      if (configured[t] !== 0 && this.#configured[t] !== 1) this.#fail(`the configuration of ${t} is not stored once`);
      for (let c = first[t] as number; c < (first[t + 1] as number); c++) {
        for (let n = 2 * c; n < 2 * c + (deliveries[c] as number); n++) {
          if (this.#ends[n] !== 1) this.#fail(`the log says ${this.#ends[n]} times how delivery ${n} ended`);
        }
      }
    }
    if (this.#confirmed < tail) this.#fail("the end of the log is not acknowledged");
  }

  #fail(problem: string): void {
    this.#problem ??= problem;
  }
}

function park(ticket: Ticket): void {
  ticket.state = "parked";
}
