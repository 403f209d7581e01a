import type { Progress } from "../backfill/progress.ts";
import type { Lsn } from "../replication/lsn.ts";
import type { Claims } from "../deliver/claims.ts";
import type { Ticket } from "../deliver/ticket.ts";
import type { CheckpointWriter, QueueDelta } from "./checkpoint-writer.ts";
import type { CheckpointPlan, ConfigurationEffect } from "./checkpoint-plan.ts";
import type { Tracker } from "./tracker.ts";

export interface RecorderOptions {
  readonly tracker: Tracker;
  readonly writer: Pick<CheckpointWriter, "write">;
  /** Deliveries with a queue row that this process is dealing with. */
  readonly claimed: Claims;
  /** A checkpoint is durable: what may be acknowledged, forgotten and released. */
  readonly onDurable: (done: Durable) => void;
  /** A checkpoint with these chunks of backfills is durable; told before `onDurable`. */
  readonly onBackfilled?: (progresses: readonly Progress[]) => void;
  /** A checkpoint with these configuration transactions is durable; told before `onDurable`. */
  readonly onApplied?: (effects: readonly ConfigurationEffect[]) => void;
  /** A checkpoint failed: nothing of it is written, and this recorder does nothing more. */
  readonly onFailure: (error: unknown) => void;
}

export interface Durable {
  readonly flushLsn: Lsn;
  readonly bytes: number;
  readonly tickets: number;
  readonly parked: readonly Ticket[];
  readonly queueDelta: QueueDelta;
}

const NO_DELTA: QueueDelta = new Map();

/**
 * From the start of one checkpoint to that of the next, at least. Each is a flush of the WAL and takes this thread's time:
 * with 1,000 events a second the writers' p50 was 0.54 ms without this and 0.43 ms with it, the receipt's p99 6.8 and 4.3 ms.
 */
const MIN_INTERVAL_MS = 20;

/**
 * Makes checkpoints, one at a time: at once when idle, together when busy, since everything that happens
 * while one is being written, or right after it, goes into the next. Without anything to write it sleeps until the oldest
 * chunk's grace ends.
 */
export class Recorder {
  readonly #options: RecorderOptions;
  #writing: Promise<void> = Promise.resolve();
  #isWorking = false;
  #isPoked = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: RecorderOptions) {
    this.#options = options;
  }

  /** Something happened that a checkpoint may have to say. */
  poke(): void {
    this.#isPoked = true;
    if (this.#isWorking || this.#isClosed) return;
    this.#isWorking = true;
    this.#writing = this.#work();
  }

  /** Writes everything down, open deliveries into the queue, and ends. */
  async close(): Promise<void> {
    while (this.#isWorking) await this.#writing;
    if (this.#isClosed) return;
    // What a poke would write from here on this writes: two checkpoints at once would share a connection, and a transaction.
    this.#isWorking = true;
    this.#writing = this.#writeAll();
    await this.#writing;
  }

  /** Ends without writing. */
  abandon(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #writeAll(): Promise<void> {
    for (;;) {
      const plan = this.#options.tracker.plan(performance.now(), 0);
      if (plan === null || !(await this.#write(plan))) break;
    }
    this.abandon();
    this.#isWorking = false;
  }

  async #work(): Promise<void> {
    // Whatever else happens in this turn of the event loop comes along.
    await new Promise(setImmediate);
    while (this.#isPoked && !this.#isClosed) {
      this.#isPoked = false;
      const plan = this.#plan();
      if (plan === null) continue;
      const startedAtMs = performance.now();
      if (!(await this.#write(plan))) break;
      this.#isPoked = true;
      await this.#rest(startedAtMs + MIN_INTERVAL_MS - performance.now());
    }
    // In the same turn as the look at #isPoked: a later poke finds nobody working and starts anew.
    this.#isWorking = false;
    this.#sleep();
  }

  #plan(): CheckpointPlan | null {
    try {
      return this.#options.tracker.plan(performance.now());
    } catch (error) {
      this.abandon();
      this.#options.onFailure(error);
      return null;
    }
  }

  async #rest(ms: number): Promise<void> {
    if (ms > 0 && !this.#isClosed) await new Promise((resolve) => setTimeout(resolve, ms));
  }

  async #write(plan: CheckpointPlan): Promise<boolean> {
    const { tracker, writer, claimed, onDurable, onFailure } = this.#options;
    for (const { ticket, isSending } of plan.enqueue) if (isSending) claimed.add(ticket);
    try {
      const queueDelta = plan.isWorthWriting ? await writer.write(plan, claimed.ids, Date.now()) : NO_DELTA;
      const parked = tracker.committed(plan);
      for (const { ticket } of plan.requeue) claimed.delete(ticket);
      for (const ticket of plan.dequeue) claimed.delete(ticket);
      if (plan.backfills !== undefined) this.#options.onBackfilled?.(plan.backfills);
      if (plan.configuration.length > 0) this.#options.onApplied?.(plan.configuration);
      onDurable({ flushLsn: plan.flushLsn, bytes: plan.bytes, tickets: plan.tickets, parked, queueDelta });
      return true;
    } catch (error) {
      this.abandon();
      onFailure(error);
      return false;
    }
  }

  #sleep(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const deadlineMs = this.#options.tracker.nextDeadlineMs;
    if (deadlineMs === null || this.#isClosed) return;
    this.#timer = setTimeout(() => this.poke(), Math.max(1, deadlineMs - performance.now()));
  }
}
