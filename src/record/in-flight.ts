import type { Kysely } from "kysely";
import type { BridgeSettings } from "../bridge-settings.ts";
import type { Database } from "../db/schema.ts";
import type { WebhookStates } from "../db/webhook-states.ts";
import type { AttemptRecord } from "../deliver/attempt-record.ts";
import { BlockedWebhooks } from "../deliver/blocked-webhooks.ts";
import { Claims } from "../deliver/claims.ts";
import { Courier } from "../deliver/courier.ts";
import type { Room } from "../deliver/due-deliveries.ts";
import type { Handshakes } from "../deliver/handshakes.ts";
import { HealthBook } from "../deliver/health-book.ts";
import type { KeyRing } from "../deliver/key-ring.ts";
import { Lanes } from "../deliver/lanes.ts";
import type { ParkedCount } from "../deliver/parked-count.ts";
import { QueueFeeder } from "../deliver/queue-feeder.ts";
import { receive } from "../deliver/reception.ts";
import { Reconsiderer } from "../deliver/reconsiderer.ts";
import type { Ticket } from "../deliver/ticket.ts";
import type { Transport } from "../deliver/transport.ts";
import { Window } from "../deliver/window.ts";
import type { Conditions } from "../match/conditions.ts";
import type { InForce, InForceChange } from "../match/in-force.ts";
import type { WithoutRights } from "../match/match.ts";
import type { Webhook } from "../match/webhook.ts";
import type { OrderChunk } from "../render/order-chunk.ts";
import { Cancellations } from "../deliver/cancellations.ts";
import type { QueueDelta } from "./checkpoint-writer.ts";
import { Gate } from "../deliver/gate.ts";
import type { Durable } from "./recorder.ts";
import { readLeftBehind, type LeftBehind } from "./left-behind.ts";
import { showInvalid } from "./show-invalid.ts";
import type { ConfigurationEffect } from "./checkpoint-plan.ts";
import { Tracker } from "./tracker.ts";
import { writeHealth } from "./webhook-health.ts";

/** With so many in the queue a webhook gets no more of what is not live. */
const MAX_SPARE = 500;

export interface InFlightOptions {
  readonly db: Kysely<Database>;
  readonly states: WebhookStates;
  readonly transport: Transport;
  readonly conditions: Pick<Conditions, "askParked">;
  readonly settings: BridgeSettings;
  readonly inForce: InForce;
  readonly withoutRights: () => WithoutRights;
  readonly keys: KeyRing;
  readonly handshakes: Handshakes;
  readonly start: ConstructorParameters<typeof Tracker>[0];
  /** Of this process. */
  readonly epoch: bigint;
  readonly onAttempt: (record: AttemptRecord) => void;
  /** Something may be worth a checkpoint. */
  readonly onProgress: () => void;
  readonly onFailure: (error: unknown) => void;
}

/**
 * The deliveries that are open in this process, from order to durable end: lanes give them their place, the
 * courier sends them, the feeder brings back those that wait in the queue, the tracker knows what a
 * checkpoint may say of them.
 */
export class InFlight {
  readonly tracker: Tracker;
  /** Deliveries with a queue row that this process is dealing with. */
  readonly claimed: Claims = new Claims();
  readonly #options: InFlightOptions;
  readonly #lanes = new Lanes();
  readonly #cancellations = new Cancellations(this.#lanes);
  readonly #window: Window;
  readonly #courier: Courier;
  readonly #reconsiderer: Reconsiderer;
  readonly #feeder: QueueFeeder;
  readonly #blocked: BlockedWebhooks;
  readonly #health: HealthBook;
  readonly #gate: Gate;
  readonly #parkedCount: ParkedCount;
  #durable: Ticket[] = [];
  #inForce: InForce;
  #generation = 0;
  #receiving: Promise<void> = Promise.resolve();

  private constructor(options: InFlightOptions, { parkedCount, blocked, health, undecided }: LeftBehind) {
    const { settings, transport, inForce, db, states, onFailure, epoch } = options;
    this.#options = options;
    this.#inForce = inForce;
    this.#parkedCount = parkedCount;
    const { withoutRights, keys, handshakes } = options;
    this.#gate = new Gate({ withoutRights, keys, handshakes, cancellations: this.#cancellations });
    this.#window = new Window(settings.maxOpenDeliveries, settings.maxBytesInFlight);
    this.tracker = new Tracker(options.start, settings.graceMs, (ticket) => this.#lanes.park(ticket));
    this.#health = new HealthBook({ known: health, write: (news) => writeHealth(db, epoch, news), onFailure });
    this.#courier = new Courier(inForce, {
      health: this.#health,
      lanes: this.#lanes,
      transport,
      keys: options.keys,
      concurrencyPerWebhook: settings.concurrencyPerWebhook,
      maxOpenRequests: settings.maxOpenRequests,
      // A few webhooks whose receivers hang must not fill the window.
      bytesPerWebhook: settings.maxBytesInFlight / 4,
      retryScheduleMs: settings.retryScheduleMs,
      isHeld: (webhook) => this.#gate.holds(webhook),
      packingOf: (webhook) => options.handshakes.packingOf(webhook),
      report: (ticket, record) => this.#report(ticket, record),
      onHopeless: (webhook, reason) => states.disable(webhook.id, reason, webhook.requestUrl),
      onRoom: () => this.wake(),
    });
    this.#reconsiderer = new Reconsiderer({
      conditions: options.conditions,
      maxBodyBytes: settings.maxBodyBytes,
      inForce: () => this.#inForce,
      onDecided: (ticket) => {
        if (ticket.cancelledBy === null) this.#courier.take([ticket]);
        else this.#report(this.#lanes.park(ticket)[0] ?? ticket, null);
      },
      report: (ticket, record) => this.#report(ticket, record),
      shown: undecided,
      onTrouble: (webhookId, reason) => states.show("condition", webhookId, "undecided", reason),
      onRoom: () => this.wake(),
      onFailure,
    });
    this.#blocked = new BlockedWebhooks({
      shown: blocked,
      show: (webhookId, reason) => states.show("address", webhookId, "blocked", reason),
    });
    this.#feeder = new QueueFeeder({
      db,
      rooms: () => this.#rooms(),
      claimed: this.claimed,
      maxBytes: settings.maxBytesInFlight,
      isEmpty: () => this.#parkedCount.isZero,
      generation: () => this.#generation,
      onDue: (tickets) => this.#takeDue(tickets),
      onFailure,
    });
  }

  /** Goes on with what an earlier process has left. */
  static async open(options: InFlightOptions): Promise<InFlight> {
    const { db, states, inForce, epoch } = options;
    // What a new slot starts with never came through the stream.
    showInvalid(states, inForce, inForce.webhooks.keys());
    return new InFlight(options, await readLeftBehind(db, states, epoch));
  }

  /** The webhooks in force for what is sent now. */
  readonly webhooks = (): Iterable<Webhook> => this.#inForce.webhooks.values();

  /** Resolves when the next chunk may be matched. */
  room(): Promise<void> {
    return this.#window.room();
  }

  /** Takes a chunk part by part, each when there is room for it, until `isOver`. */
  async receiveAll(parts: Iterable<OrderChunk>, isOver: () => boolean): Promise<void> {
    for (const part of parts) {
      await this.receive(part);
      await this.room();
      // What is left of the chunk is above the cursor: it comes again.
      if (isOver()) return;
    }
  }

  /** Takes a chunk's orders and starts what may start. Resolves when each has its place, in stream order. */
  receive(chunk: OrderChunk): Promise<void> {
    this.#receiving = this.#receive(chunk);
    return this.#receiving;
  }

  async #receive(chunk: OrderChunk): Promise<void> {
    this.#window.take(chunk.orders.length, chunk.orderBytes);
    const tickets = await receive(chunk.orders, {
      db: this.#options.db,
      lanes: this.#lanes,
      parkedCount: this.#parkedCount,
      isClogged: (webhookId) => this.#courier.isClogged(webhookId),
      takeDurable: () => this.#durable.splice(0),
      onEntered: (entered) => this.#courier.take(entered),
      report: (ticket, record) => this.#report(ticket, record),
    });
    this.tracker.admit({ ...chunk, tickets, configuration: chunk.change }, performance.now());
    if (chunk.change !== null) this.#reconfigure(chunk.change);
    this.#options.onProgress();
  }

  #reconfigure({ inForce, changed, repairs }: InForceChange): void {
    this.#generation++;
    this.#options.states.reconfigure(changed.keys());
    for (const repair of repairs) {
      if (repair.kind !== "cancel_waiting") continue;
      const ended = this.#cancellations.begin(repair, this.tracker.deliveries(), this.claimed.tickets);
      for (const ticket of ended) this.#report(ticket, null);
    }
    this.#health.reconfigure(this.#inForce, inForce, changed.keys());
    this.#inForce = inForce;
    this.#courier.reconfigure(inForce, changed.keys());
    this.#reconsiderer.forget(changed.keys());
    this.#blocked.forget(changed.keys());
    showInvalid(this.#options.states, inForce, changed.keys());
    this.#options.handshakes.look();
    this.wake();
  }

  /** These have become durable: what was cancelled is gone. */
  applied(effects: readonly ConfigurationEffect[]): void {
    for (const { repairs } of effects) {
      this.#cancellations.applied(repairs);
      this.#reconsiderer.forget(repairs.map(({ webhookId }) => webhookId));
    }
    this.wake();
  }

  /** A checkpoint is durable. */
  settle({ tickets, parked, queueDelta }: Durable): void {
    this.#window.release(tickets);
    this.#durable.push(...parked);
    this.#parkedCount.add(queueDelta);
    // A row that waits for a further attempt changes no count, but when the next one is due.
    if (queueDelta.size > 0 || parked.length > 0) this.wake();
  }

  /** Rows came into the queue, or left it, beside the checkpoints. */
  queued(delta: QueueDelta): void {
    this.#parkedCount.add(delta);
    this.wake();
  }

  /** Whether a webhook is in force. */
  hasWebhook(webhookId: number): boolean {
    return this.#inForce.webhooks.has(webhookId);
  }

  /** How many deliveries that are not live the queue may take for a webhook now: few, and none while it sends nothing. */
  spareRoom(webhookId: number): number {
    if (!this.#gate.isOpen(this.#inForce.webhooks.get(webhookId))) return 0;
    return Math.max(0, MAX_SPARE - this.#parkedCount.of(webhookId));
  }

  /** Something in the queue may be due. */
  wake(): void {
    this.#feeder.wake();
  }

  /** Starts nothing more and waits for requests under way, at most so long. */
  async drain(withinMs: number): Promise<void> {
    this.#reconsiderer.close();
    const drained = this.#courier.drain(withinMs);
    await this.#receiving.catch(() => {});
    await this.#feeder.close();
    await drained;
    this.#blocked.close();
    await this.#health.close().catch(() => {});
  }

  async close(): Promise<void> {
    await this.drain(0);
  }

  /** A deleted webhook's rows are cancelled by the checkpoint that passes its deletion, and never fetched again. */
  #rooms(): Room[] {
    const rooms: Room[] = [];
    for (const webhookId of this.#parkedCount.webhookIds()) {
      if (!this.#gate.isOpen(this.#inForce.webhooks.get(webhookId))) continue;
      rooms.push({ webhookId, kind: "request", count: this.#courier.room(webhookId) });
      rooms.push({ webhookId, kind: "undecided", count: this.#reconsiderer.room(webhookId) });
    }
    return rooms.filter(({ count }) => count > 0);
  }

  #report(ticket: Ticket, record: AttemptRecord | null): void {
    if (record !== null) {
      this.tracker.record(ticket, record);
      this.#blocked.note(record);
      // An event that did not fire is not reported as activity.
      if (record.outcome !== "declined") this.#options.onAttempt(record);
    }
    if (ticket.cancelledBy !== null) this.#endCancelled(ticket);
    this.tracker.touch(ticket);
    this.#options.onProgress();
  }

  #endCancelled(ticket: Ticket): void {
    const record = this.#cancellations.end(ticket, Date.now());
    if (record === null) return;
    this.tracker.record(ticket, record);
    this.#options.onAttempt(record);
  }

  #takeDue(tickets: readonly Ticket[]): void {
    this.#courier.take(tickets.filter(({ request }) => request !== null));
    this.#reconsiderer.take(tickets.filter(({ request }) => request === null));
  }
}
