import type { CheckpointPlan } from "../../src/record/checkpoint-plan.ts";
import type { Tracker } from "../../src/record/tracker.ts";
import { Acknowledger } from "../../src/replication/acknowledger.ts";
import type { Lsn } from "../../src/replication/lsn.ts";
import type { SimulatedDatabase } from "./cursor-simulation-database.ts";
import type { Mutant } from "./cursor-simulation-mutants.ts";
import { BYTE, lsnAt, MAX_DELIVERIES, placeOf } from "./cursor-simulation-wal.ts";

export interface SimulatedRecorderOptions {
  readonly tracker: Tracker;
  readonly database: SimulatedDatabase;
  readonly epoch: number;
  /** A whole number in [0, n). */
  readonly below: (n: number) => number;
  readonly mutant: Mutant;
}

/** Makes checkpoints of the real tracker's plans and tells the slot by the real acknowledger, a step at a time. */
export class SimulatedRecorder {
  readonly #options: SimulatedRecorderOptions;
  readonly #acknowledger: Acknowledger;
  /** Deliveries of the queue that this process is dealing with. */
  readonly #claimed = new Uint8Array(MAX_DELIVERIES);
  #plan: CheckpointPlan | null = null;
  #stage = 0;
  #isCursorFirst = false;
  /** A status that is on its way to the server, or -1. */
  #status = -1;
  #isConnected = true;
  /** It tried to write after another bridge had taken over. */
  isFenced = false;

  constructor(options: SimulatedRecorderOptions) {
    this.#options = options;
    this.#acknowledger = new Acknowledger(lsnAt(options.database.confirmed), (lsn) => this.#send(lsn));
  }

  get isIdle(): boolean {
    return this.#plan === null;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** What this process has told the slot. */
  get acknowledged(): Lsn {
    return this.#acknowledger.lsn;
  }

  /** Whether a row of the queue was nobody's, and now is this process'. */
  claim(n: number): boolean {
    if (this.#claimed[n] === 1) return false;
    this.#claimed[n] = 1;
    return true;
  }

  acknowledge(lsn: Lsn): void {
    this.#acknowledger.acknowledge(lsn);
  }

  /** A status goes to the server, and arrives. */
  report(): void {
    this.#acknowledger.sendNow(false);
    this.arrive();
  }

  /** What is on its way to the server arrives. */
  arrive(): void {
    if (this.#status >= 0) this.#options.database.confirm(this.#status);
    this.#status = -1;
  }

  /** The connection to the slot is gone; a status on its way arrives or not. */
  disconnect(): void {
    if (this.#options.below(2) === 0) this.arrive();
    this.#isConnected = false;
    this.#acknowledger.close();
  }

  /** Ends in order: what is open goes into the queue, and all of it is acknowledged. A crash can come first. */
  stop(nowMs: number): void {
    const { below, database, epoch } = this.#options;
    this.#finish(nowMs);
    while (!this.isFenced && below(8) > 0) {
      if (!this.#planOne(nowMs, 0)) {
        database.stop(epoch, this.#acknowledger.lsn);
        this.#acknowledger.sendNow(true);
        return;
      }
      this.#finish(nowMs);
    }
  }

  /** Planned, written, taken note of, acknowledged: one of them at a time. */
  step(nowMs: number): void {
    const { tracker, below } = this.#options;
    const plan = this.#plan;
    if (plan === null) return void this.#planOne(nowMs);
    switch (this.#stage++) {
      case 0:
      case 1:
        if (plan.isWorthWriting && !this.#isSkipped(plan)) this.#write(plan);
        else this.#stage = 2;
        return;
      case 2:
        tracker.committed(plan);
        for (const { ticket } of plan.requeue) this.#claimed[ticket.delivery.webhookId] = 0;
        for (const { delivery } of plan.dequeue) this.#claimed[delivery.webhookId] = 0;
        return;
      default:
        this.#acknowledger.acknowledge(plan.flushLsn);
        this.#plan = null;
        if (below(2) === 0) this.#acknowledger.sendNow(false);
    }
  }

  #finish(nowMs: number): void {
    while (this.#plan !== null && !this.isFenced) this.step(nowMs);
  }

  /** False where there is nothing to plan. */
  #planOne(nowMs: number, graceMs?: number): boolean {
    const { tracker, below, mutant } = this.#options;
    this.#plan = tracker.plan(nowMs, graceMs);
    if (this.#plan === null) return false;
    this.#stage = 0;
    this.#isCursorFirst = below(2) === 0;
    for (const { ticket, isSending } of this.#plan.enqueue) {
      if (isSending) this.#claimed[ticket.delivery.webhookId] = 1;
    }
    if (mutant === "acknowledge-before-durable") this.#acknowledger.acknowledge(this.#plan.flushLsn);
    return true;
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

  /** The library's way: on the wire is the LSN that it was given plus one. */
  #send(text: string): void {
    if (!this.#isConnected) return;
    this.arrive();
    const [high, low] = text.split("/");
    const lsn = BigInt(`0x${high}`) * 0x1_0000_0000n + BigInt(`0x${low}`);
    this.#status = placeOf(lsn) + BYTE * (this.#options.mutant === "acknowledge-plus-one" ? 2 : 1);
  }
}
