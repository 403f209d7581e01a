import type { Chunk } from "../../src/decode/chunk.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";
import type { ConfigurationEffect } from "../../src/record/checkpoint-plan.ts";
import { Tracker } from "../../src/record/tracker.ts";
import type { Lsn } from "../../src/replication/lsn.ts";
import type { SimulatedDatabase, StoredCursor } from "./cursor-simulation-database.ts";
import { DEAD, DELIVERED, DELIVERIES, RETRY } from "./cursor-simulation-deliveries.ts";
import { SimulatedIntake } from "./cursor-simulation-intake.ts";
import type { Mutant } from "./cursor-simulation-mutants.ts";
import { SimulatedRecorder } from "./cursor-simulation-recorder.ts";
import type { SimulatedServer } from "./cursor-simulation-server.ts";
import { MAX_DELIVERIES, type SimulatedWal, placeOf } from "./cursor-simulation-wal.ts";

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
  readonly #recorder: SimulatedRecorder;
  /** Of a chunk whose first parts have been admitted. */
  #rest: Chunk | null = null;
  /** Deliveries that somebody is dealing with. */
  readonly #open: Ticket[] = [];
  #nowMs = 0;

  constructor(options: SimulatedBridgeOptions) {
    const { cursor, below, mutant } = options;
    this.#options = options;
    this.#intake = new SimulatedIntake(cursor.position, below, mutant);
    this.#tracker = new Tracker(cursor, GRACE_MS, (ticket) => {
      ticket.state = "parked";
    });
    this.#recorder = new SimulatedRecorder({ ...options, tracker: this.#tracker });
  }

  /** Something happens. */
  step(): void {
    const { below } = this.#options;
    const what = below(16);
    if (what < 3) this.#receive(1 + below(4));
    else if (what < 5) this.#intake.handOn(1 + below(6));
    else if (what < 7) this.#admit();
    else if (what < 11) this.#deliver(below(3) > 0);
    else if (what < 14) this.#recorder.step(this.#nowMs);
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
      for (let i = 0; i < 5; i++) this.#recorder.step(this.#nowMs);
      if (!server.isDone || !this.#intake.isEmpty || this.#rest !== null) continue;
      if (this.#tracker.depth > 0 || this.#open.length > 0 || !this.#recorder.isIdle) continue;
      if (database.waiting === 0) break;
      for (let n = 0; n < MAX_DELIVERIES; n++) this.#fetch(n);
    }
    this.#recorder.report();
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  /** Ends in order; a crash can come first. */
  stop(): void {
    this.#recorder.stop(this.#nowMs);
  }

  /** The connection to the slot is gone. */
  disconnect(): void {
    this.#recorder.disconnect();
  }

  get acknowledged(): Lsn {
    return this.#recorder.acknowledged;
  }

  get isFenced(): boolean {
    return this.#recorder.isFenced;
  }

  #receive(frames: number): void {
    const { server, below, mutant } = this.#options;
    for (let i = 0; i < frames && this.#recorder.isConnected; i++) {
      if (server.isDone && below(2) === 0) return;
      const { isInside } = server;
      const last = this.#intake.read(server.next(), isInside);
      if (mutant === "acknowledge-received" && last?.type === "commit") this.#recorder.acknowledge(last.endLsn);
    }
  }

  /** A chunk, or what is rendered of it at a time: only the last part tells its flush LSN and its configuration. */
  #nextPart(): Chunk | null {
    const { below, mutant } = this.#options;
    const chunk = this.#rest ?? this.#intake.shift();
    this.#rest = null;
    const size = 1 + below(4);
    if (chunk === null || chunk.changes.length <= size || below(2) === 0) return chunk;
    this.#rest = { ...chunk, changes: chunk.changes.slice(size) };
    const { position } = chunk.changes[size - 1]!;
    const flushLsn = mutant === "part-as-whole" ? chunk.flushLsn : 0n;
    return { changes: chunk.changes.slice(0, size), position, flushLsn, bytes: 0, configuration: [] };
  }

  #admit(): void {
    const { wal, database } = this.#options;
    const chunk = this.#nextPart();
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
    if (!this.#options.database.isWaiting(n) || !this.#recorder.claim(n)) return;
    const ticket = newTicket(DELIVERIES[n]!, null);
    ticket.isDurable = true;
    ticket.state = "ready";
    this.#open.push(ticket);
  }

  /** Time passes: graces end, statuses are sent and arrive. */
  #pass(): void {
    const { below, database } = this.#options;
    this.#nowMs += below(3);
    if (!this.#recorder.isConnected) return;
    if (below(2) === 0) this.#recorder.report();
    else this.#recorder.arrive();
    if (below(3) === 0) database.savedConfirmed = database.confirmed;
  }
}

const NO_EFFECT: Omit<ConfigurationEffect, "removed"> = { changed: new Map(), repairs: [] };
const GRACE_MS = 3;
