import type { Kysely } from "kysely";
import type { BridgeSettings } from "../bridge-settings.ts";
import type { Database } from "../db/schema.ts";
import { unsentRecord, type AttemptRecord } from "../deliver/attempt-record.ts";
import { Courier } from "../deliver/courier.ts";
import { countParked } from "../deliver/due-deliveries.ts";
import { Lanes } from "../deliver/lanes.ts";
import { QueueFeeder } from "../deliver/queue-feeder.ts";
import { receive } from "../deliver/reception.ts";
import { reconsider } from "../deliver/reconsider.ts";
import type { Ticket } from "../deliver/ticket.ts";
import type { Transport } from "../deliver/transport.ts";
import { Window } from "../deliver/window.ts";
import type { Conditions } from "../match/conditions.ts";
import type { InForce } from "../match/in-force.ts";
import type { Held } from "../match/match.ts";
import { setState } from "../match/rights-watch.ts";
import { templateProblem } from "../render/render.ts";
import type { OrderChunk } from "../render/order-chunk.ts";
import type { Durable } from "./recorder.ts";
import { Tracker } from "./tracker.ts";

export interface InFlightOptions {
  readonly db: Kysely<Database>;
  readonly transport: Transport;
  readonly conditions: Pick<Conditions, "askParked">;
  readonly settings: BridgeSettings;
  readonly inForce: InForce;
  readonly held: () => Held;
  readonly start: ConstructorParameters<typeof Tracker>[0];
  readonly onAttempt: (record: AttemptRecord) => void;
  /** Something may be worth a checkpoint. */
  readonly onProgress: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** How long an undecided delivery waits before its condition is asked again. */
const ASK_AGAIN_MS = 5_000;

/**
 * The deliveries that are open in this process, from order to durable end: lanes give them their place, the
 * courier sends them, the feeder brings back those that wait in the queue, the tracker knows what a
 * checkpoint may say of them.
 */
export class InFlight {
  readonly tracker: Tracker;
  /** Deliveries with a queue row that this process is dealing with. */
  readonly claimed: Set<string> = new Set<string>();
  readonly #options: InFlightOptions;
  readonly #lanes = new Lanes();
  readonly #window: Window;
  readonly #courier: Courier;
  readonly #feeder: QueueFeeder;
  readonly #parkedCount: Map<number, number>;
  #durable: Ticket[] = [];
  #inForce: InForce;
  #isClosed = false;

  private constructor(options: InFlightOptions, parkedCount: Map<number, number>) {
    const { settings, transport, inForce, db, onFailure } = options;
    this.#options = options;
    this.#inForce = inForce;
    this.#parkedCount = parkedCount;
    this.#window = new Window(settings.maxOpenDeliveries);
    this.tracker = new Tracker(options.start, settings.graceMs, (ticket) => this.#lanes.park(ticket));
    this.#courier = new Courier(inForce, {
      lanes: this.#lanes,
      transport,
      concurrencyPerWebhook: settings.concurrencyPerWebhook,
      retryScheduleMs: settings.retryScheduleMs,
      isHeld: (webhookId) => options.held().has(webhookId),
      report: (ticket, record) => this.#report(ticket, record),
    });
    this.#feeder = new QueueFeeder({
      db,
      webhookIds: () => this.#sendable(),
      claimed: this.claimed,
      isEmpty: () => this.#parkedCount.size === 0,
      onDue: (tickets) => this.#takeDue(tickets),
      onFailure,
    });
  }

  /** Counts what the queue holds, once; from then on checkpoints tell. */
  static async open(options: InFlightOptions): Promise<InFlight> {
    return new InFlight(options, await countParked(options.db));
  }

  /** Resolves when the next chunk may be matched. */
  room(): Promise<void> {
    return this.#window.room();
  }

  /** Takes a chunk's orders and starts what may start. Resolves when each has its place, in stream order. */
  async receive(chunk: OrderChunk): Promise<void> {
    const tickets = await receive(chunk.orders, {
      db: this.#options.db,
      lanes: this.#lanes,
      parkedCount: this.#parkedCount,
      takeDurable: () => this.#durable.splice(0),
      report: (ticket, record) => this.#report(ticket, record),
    });
    if (this.#isClosed) return;
    this.#window.take(tickets.length);
    this.tracker.admit({ ...chunk, tickets, configuration: chunk.change }, Date.now());
    this.#courier.take(tickets);
    if (chunk.change !== null) {
      this.#inForce = chunk.change.inForce;
      this.#courier.reconfigure(this.#inForce);
      this.#showProblems(chunk.change.changed.keys());
      this.wake();
    }
    this.#options.onProgress();
  }

  /** A checkpoint is durable. */
  settle({ tickets, parked, queueDelta }: Durable): void {
    this.#window.release(tickets);
    this.#durable.push(...parked);
    for (const [webhookId, by] of queueDelta) {
      const count = (this.#parkedCount.get(webhookId) ?? 0) + by;
      if (count > 0) this.#parkedCount.set(webhookId, count);
      else this.#parkedCount.delete(webhookId);
    }
    // A row that waits for a further attempt changes no count, but when the next one is due.
    if (queueDelta.size > 0 || parked.length > 0) this.wake();
  }

  /** Something in the queue may be due. */
  wake(): void {
    this.#feeder.wake();
  }

  /** Starts nothing more and waits for requests under way, at most so long. */
  async drain(withinMs: number): Promise<void> {
    this.#isClosed = true;
    await this.#feeder.close();
    await this.#courier.drain(withinMs);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#feeder.close();
    await this.#courier.drain(0);
  }

  /** A template that the database could not check: nothing of it can be rendered, and the DBA is told at once. */
  #showProblems(webhookIds: Iterable<number>): void {
    for (const id of webhookIds) {
      const webhook = this.#inForce.webhooks.get(id);
      const problem = webhook === undefined ? null : templateProblem(webhook);
      if (problem !== null) setState(this.#options.db, id, "invalid", problem).catch(this.#options.onFailure);
    }
  }

  /** A deleted webhook's rows are cancelled by the checkpoint that passes its deletion, and never fetched again. */
  #sendable(): number[] {
    const held = this.#options.held();
    return [...this.#parkedCount.keys()].filter(
      (id) => this.#inForce.webhooks.get(id)?.enabled === true && !held.has(id),
    );
  }

  #report(ticket: Ticket, record: AttemptRecord | null): void {
    if (record !== null) {
      this.tracker.record(ticket, record);
      this.#options.onAttempt(record);
    }
    this.tracker.touch(ticket);
    this.#options.onProgress();
  }

  #takeDue(tickets: readonly Ticket[]): void {
    this.#courier.take(tickets.filter(({ request }) => request !== null));
    void this.#reconsiderAll(tickets.filter(({ request }) => request === null));
  }

  #cancel(ticket: Ticket): void {
    ticket.state = "ended";
    const reason = "the webhook was deleted before this delivery could be made";
    this.#report(ticket, unsentRecord(ticket.delivery, "cancelled", reason, Date.now()));
  }

  /** One after the other, on a connection of their own: a slow condition delays only undecided deliveries. */
  async #reconsiderAll(tickets: readonly Ticket[]): Promise<void> {
    try {
      for (const ticket of tickets) if (!this.#isClosed) await this.#reconsider(ticket);
    } catch (error) {
      this.#options.onFailure(error);
    }
  }

  async #reconsider(ticket: Ticket): Promise<void> {
    const { delivery } = ticket;
    const webhook = this.#inForce.webhooks.get(delivery.webhookId);
    if (webhook === undefined) return this.#cancel(ticket);
    const result = await reconsider(ticket, webhook, this.#options.conditions);
    switch (result.kind) {
      case "send":
        ticket.request = result.request;
        return this.#courier.take([ticket]);
      case "drop":
        ticket.state = "ended";
        return this.#report(ticket, null);
      case "unsendable":
        ticket.state = "ended";
        return this.#report(ticket, unsentRecord(delivery, result.outcome, result.reason, Date.now()));
      case "later":
        if (!this.#inForce.webhooks.has(delivery.webhookId)) return this.#cancel(ticket);
        ticket.state = "parked";
        ticket.lastError = result.reason;
        ticket.dueAtMs = Date.now() + ASK_AGAIN_MS;
        return this.#report(ticket, null);
      default:
        return result satisfies never;
    }
  }
}
