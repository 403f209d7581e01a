import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";
import { Tracker, type CheckpointPlan, type ConfigurationEffect } from "../../src/record/tracker.ts";
import { Acknowledger } from "../../src/replication/acknowledger.ts";
import type { Lsn } from "../../src/replication/lsn.ts";
import type { SimulatedDatabase, StoredCursor } from "./cursor-simulation-database.ts";
import { DEAD, DELIVERED, DELIVERIES, RETRY } from "./cursor-simulation-deliveries.ts";
import { SimulatedIntake } from "./cursor-simulation-intake.ts";
import type { Mutant } from "./cursor-simulation-mutants.ts";
import type { SimulatedServer } from "./cursor-simulation-server.ts";
import { MAX_DELIVERIES, type SimulatedWal, BYTE, lsnAt, placeOf } from "./cursor-simulation-wal.ts";

export interface SimulatedBridgeOptions {
  readonly wal: SimulatedWal;
  readonly database: SimulatedDatabase;
  readonly server: SimulatedServer;
  readonly cursor: StoredCursor;
  readonly epoch: number;
  /** A whole number in [0, n). */
  readonly below: (n: number) => number;
  readonly mutant: Mutant;
}

/**
 * One process: the real tracker and acknowledger behind the intake, and around them, one step at a time and in
 * any order, what their surroundings do in the bridge.
 */
export class SimulatedBridge {
  readonly #options: SimulatedBridgeOptions;
  readonly #intake: SimulatedIntake;
  readonly #tracker: Tracker;
  readonly #acknowledger: Acknowledger;
  /** Deliveries that somebody is dealing with. */
  readonly #open: Ticket[] = [];
  readonly #claimed = new Uint8Array(MAX_DELIVERIES);
  #plan: CheckpointPlan | null = null;
  #stage = 0;
  #isCursorFirst = false;
  /** A status that is on its way to the server, or -1. */
  #status = -1;
  #nowMs = 0;
  #isConnected = true;
  isFenced = false;

  constructor(options: SimulatedBridgeOptions) {
    const { cursor, database, below, mutant } = options;
    this.#options = options;
    this.#intake = new SimulatedIntake(cursor.position, below, mutant);
    this.#tracker = new Tracker(cursor, GRACE_MS, (ticket) => {
      ticket.state = "parked";
    });
    this.#acknowledger = new Acknowledger(lsnAt(database.confirmed), (lsn) => this.#send(lsn));
  }

  /** Something happens. */
  step(): void {
    const { below } = this.#options;
    const what = below(16);
    if (what < 3) this.#receive(1 + below(4));
    else if (what < 5) this.#intake.handOn(1 + below(6));
    else if (what < 7) this.#admit();
    else if (what < 11) this.#deliver(below(3) > 0);
    else if (what < 14) this.#checkpoint();
    else if (what < 15) this.#fetch(below(MAX_DELIVERIES));
    else this.#pass();
  }

  /** Everything works until there is nothing left to do. */
  drain(): void {
    const { database, server } = this.#options;
    for (let round = 0; database.problem === null; round++) {
      if (round > 200) return database.fail("it does not come to an end");
      this.#receive(8);
      this.#intake.handOn(12);
      if (server.isDone) this.#intake.emit();
      this.#admit();
      for (let i = 0; i < 8; i++) this.#deliver(true);
      this.#nowMs++;
      for (let i = 0; i < 5; i++) this.#checkpoint();
      if (!server.isDone || !this.#intake.isEmpty) continue;
      if (this.#tracker.depth > 0 || this.#open.length > 0 || this.#plan !== null) continue;
      if (database.waiting === 0) break;
      for (let n = 0; n < MAX_DELIVERIES; n++) this.#fetch(n);
    }
    this.#acknowledger.sendNow(false);
    this.#arrive();
  }

  /** Ends in order: what is open goes into the queue, and all of it is acknowledged. A crash can come first. */
  stop(): void {
    const { below, database, epoch } = this.#options;
    if (this.#plan !== null) this.#finishCheckpoint();
    while (!this.isFenced && below(8) > 0) {
      this.#plan = this.#tracker.plan(this.#nowMs, 0);
      if (this.#plan === null) {
        database.stop(epoch, this.#acknowledger.lsn);
        this.#acknowledger.sendNow(true);
        return;
      }
      this.#stage = 0;
      for (const { ticket, isSending } of this.#plan.enqueue) {
        if (isSending) this.#claimed[ticket.delivery.webhookId] = 1;
      }
      this.#finishCheckpoint();
    }
  }

  /** What this process has told the slot. */
  get acknowledged(): Lsn {
    return this.#acknowledger.lsn;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  /** The connection to the slot is gone; a status on its way arrives or not. */
  disconnect(): void {
    if (this.#options.below(2) === 0) this.#arrive();
    this.#isConnected = false;
    this.#acknowledger.close();
  }

  #receive(frames: number): void {
    const { server, below, mutant } = this.#options;
    for (let i = 0; i < frames && this.#isConnected; i++) {
      if (server.isDone && below(2) === 0) return;
      const { isInside } = server;
      const last = this.#intake.read(server.next(), isInside);
      if (mutant === "acknowledge-received" && last?.type === "commit") this.#acknowledger.acknowledge(last.endLsn);
    }
  }

  #admit(): void {
    const { wal, database } = this.#options;
    const chunk = this.#intake.shift();
    if (chunk === null) return;
    const tickets: Ticket[] = [];
    for (const { position } of chunk.changes) {
      const change = wal.changeAt(placeOf(position.commitLsn), placeOf(position.changeLsn), position.index);
      if (change < 0) database.fail("a change has a place that the log does not know");
      for (let n = 2 * change; n < 2 * change + (wal.deliveries[change] as number); n++) {
        tickets.push(this.#newTicket(n));
      }
    }
    let configuration: ConfigurationEffect | null = null;
    if (chunk.configuration.length > 0) {
      const t = Number(chunk.configuration[0]?.row["transaction"]);
      if (chunk.configuration.length !== wal.configured[t]) database.fail("a configuration is not whole");
      configuration = { ...NO_EFFECT, removed: [t] };
    }
    const { position, flushLsn, bytes } = chunk;
    this.#tracker.admit({ position, flushLsn, bytes, tickets, configuration }, this.#nowMs);
  }

  /** Most are ready; some stand in a lane that is parked or busy; some cannot be sent at all. */
  #newTicket(n: number): Ticket {
    const { database, epoch, below } = this.#options;
    // One that was taken over may do so: its deliveries are sent twice, but never written down.
    if (database.epoch === epoch && database.isDurable(n)) database.fail(`delivery ${n} is made again`);
    const ticket = newTicket(DELIVERIES[n]!, null);
    const luck = below(12);
    ticket.state = luck === 0 ? "parked" : luck === 1 ? "ended" : luck === 2 ? "waiting" : "ready";
    if (luck === 1) this.#tracker.record(ticket, DEAD[n]!);
    if (luck > 1) this.#open.push(ticket);
    return ticket;
  }

  /** One step of any open delivery: it becomes ready, is sent, and ends or is parked. */
  #deliver(succeeds: boolean): void {
    const at = this.#options.below(this.#open.length);
    const ticket = this.#open[at];
    if (ticket === undefined) return;
    if (ticket.state === "waiting") ticket.state = "ready";
    else if (ticket.state === "ready") ticket.state = "sending";
    else {
      if (ticket.state === "sending") this.#conclude(ticket, succeeds);
      const last = this.#open.pop();
      if (last !== undefined && last !== ticket) this.#open[at] = last;
    }
  }

  #conclude(ticket: Ticket, succeeds: boolean): void {
    const n = ticket.delivery.webhookId;
    ticket.attempts++;
    ticket.isDead = !succeeds && this.#options.below(4) === 0;
    ticket.holdsLane = ticket.isDead && this.#options.below(2) === 0;
    ticket.state = succeeds || (ticket.isDead && !ticket.holdsLane) ? "ended" : "parked";
    if (ticket.state === "parked") ticket.dueAtMs = this.#nowMs;
    const record = (succeeds ? DELIVERED : ticket.isDead ? DEAD : RETRY)[n]!;
    if (this.#options.mutant === "log-above-cursor" && !ticket.isDurable) this.#options.database.log(record);
    else this.#tracker.record(ticket, record);
    this.#tracker.touch(ticket);
  }

  /** Takes a row of the queue, if that delivery has one that nobody is dealing with. */
  #fetch(n: number): void {
    if (!this.#options.database.isWaiting(n) || this.#claimed[n] === 1) return;
    this.#claimed[n] = 1;
    const ticket = newTicket(DELIVERIES[n]!, null);
    ticket.isDurable = true;
    ticket.state = "ready";
    this.#open.push(ticket);
  }

  /** Planned, written, taken note of, acknowledged: one of them at a time. */
  #checkpoint(): void {
    const { below } = this.#options;
    const plan = this.#plan;
    if (plan === null) return this.#planOne();
    switch (this.#stage++) {
      case 0:
      case 1:
        if (plan.isWorthWriting && !this.#isSkipped(plan)) this.#write(plan);
        else this.#stage = 2;
        return;
      case 2:
        this.#tracker.committed(plan);
        for (const { ticket } of plan.requeue) this.#claimed[ticket.delivery.webhookId] = 0;
        for (const { delivery } of plan.dequeue) this.#claimed[delivery.webhookId] = 0;
        return;
      default:
        this.#acknowledger.acknowledge(plan.flushLsn);
        this.#plan = null;
        if (below(2) === 0) this.#acknowledger.sendNow(false);
    }
  }

  #finishCheckpoint(): void {
    while (this.#plan !== null && !this.isFenced) this.#checkpoint();
  }

  #planOne(): void {
    const { below, mutant } = this.#options;
    this.#plan = this.#tracker.plan(this.#nowMs);
    if (this.#plan === null) return;
    this.#stage = 0;
    this.#isCursorFirst = below(2) === 0;
    for (const { ticket, isSending } of this.#plan.enqueue) {
      if (isSending) this.#claimed[ticket.delivery.webhookId] = 1;
    }
    if (mutant === "acknowledge-before-durable") this.#acknowledger.acknowledge(this.#plan.flushLsn);
  }

  #isSkipped({ records, enqueue, requeue, dequeue, configuration }: CheckpointPlan): boolean {
    if (this.#options.mutant !== "unstored-without-bound") return false;
    return records.length + enqueue.length + requeue.length + dequeue.length + configuration.length === 0;
  }

  /** One transaction, unless that is the mistake. */
  #write(plan: CheckpointPlan): void {
    const { database, epoch, below, mutant } = this.#options;
    this.isFenced = database.epoch !== epoch && mutant !== "epoch-not-checked";
    if (this.isFenced) return;
    const isApart = mutant === "cursor-outside";
    const isSecond = this.#stage === 2;
    if (!isApart) this.#stage = 2;
    if (mutant === "failed-write-ignored" && below(8) === 0) return;
    if (!isApart || this.#isCursorFirst === isSecond) {
      const enqueue =
        mutant === "sending-not-queued" ? plan.enqueue.filter(({ isSending }) => !isSending) : plan.enqueue;
      database.writeRows({ ...plan, enqueue });
    }
    if (!isApart || this.#isCursorFirst !== isSecond) database.writeCursor(plan);
  }

  /** Time passes: graces end, statuses are sent and arrive. */
  #pass(): void {
    const { below, database } = this.#options;
    this.#nowMs += below(3);
    if (!this.#isConnected) return;
    if (below(2) === 0) this.#acknowledger.sendNow(false);
    this.#arrive();
    if (below(3) === 0) database.savedConfirmed = database.confirmed;
  }

  /** The library's way: on the wire is the LSN that it was given plus one. */
  #send(text: string): void {
    if (!this.#isConnected) return;
    this.#arrive();
    const [high, low] = text.split("/");
    const lsn = BigInt(`0x${high}`) * 0x1_0000_0000n + BigInt(`0x${low}`);
    this.#status = placeOf(lsn) + BYTE * (this.#options.mutant === "acknowledge-plus-one" ? 2 : 1);
  }

  #arrive(): void {
    if (this.#status >= 0) this.#options.database.confirm(this.#status);
    this.#status = -1;
  }
}

const NO_EFFECT: Omit<ConfigurationEffect, "removed"> = { changed: new Map(), repairs: [] };
const GRACE_MS = 3;
