import type { Conditions } from "../match/conditions.ts";
import type { InForce } from "../match/in-force.ts";
import type { Webhook } from "../match/webhook.ts";
import { unsentRecord, type AttemptRecord } from "./attempt-record.ts";
import { reconsider } from "./reconsider.ts";
import type { Ticket } from "./ticket.ts";

export interface ReconsidererOptions {
  readonly conditions: Pick<Conditions, "askParked">;
  readonly maxBodyBytes: number;
  readonly inForce: () => InForce;
  /** Its condition holds now: the request stands in the ticket. */
  readonly onDecided: (ticket: Ticket) => void;
  readonly report: (ticket: Ticket, record: AttemptRecord | null) => void;
  /** Webhooks that an earlier process has told of. */
  readonly shown: Iterable<number>;
  /** Nothing can be decided of a webhook several times in a row, for the given reason; null: it can again. */
  readonly onTrouble: (webhookId: number, reason: string | null) => void;
  /** A webhook may be asked again. */
  readonly onRoom: () => void;
  readonly onFailure: (error: unknown) => void;
}

/** Undecided deliveries of one webhook in memory at once. */
const PAGE = 50;
const MIN_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 60_000;
/** So many questions in a row without an answer, and a DBA is told. */
const TROUBLE_AFTER = 3;

/**
 * Asks the conditions of undecided deliveries again, one after the other, beside the live ones. A condition that
 * does not answer is left alone for a while, with all that wait for it: it costs one question a backoff,
 * however many deliveries there are, and delays nobody else's by more than one timeout.
 */
export class Reconsiderer {
  readonly #options: ReconsidererOptions;
  readonly #waiting: Ticket[] = [];
  readonly #loads = new Map<number, number>();
  readonly #silent = new Map<number, Silence>();
  /** Of whom trouble was told. */
  readonly #shown: Set<number>;
  #isWorking = false;
  #isClosed = false;

  constructor(options: ReconsidererOptions) {
    this.#options = options;
    this.#shown = new Set(options.shown);
  }

  /** How many undecided deliveries of a webhook it would take now. */
  room(webhookId: number): number {
    if (this.#isClosed || (this.#silent.get(webhookId)?.timer ?? null) !== null) return 0;
    // After a silence one question shows whether there is any use in more.
    return this.#silent.has(webhookId)
      ? this.#loads.has(webhookId)
        ? 0
        : 1
      : PAGE - (this.#loads.get(webhookId) ?? 0);
  }

  take(tickets: readonly Ticket[]): void {
    for (const ticket of tickets) {
      const { webhookId } = ticket.delivery;
      this.#loads.set(webhookId, (this.#loads.get(webhookId) ?? 0) + 1);
      this.#waiting.push(ticket);
    }
    if (this.#isWorking || this.#waiting.length === 0) return;
    this.#isWorking = true;
    void this.#work();
  }

  /** These webhooks were changed, or something of them was cancelled: what is undecided is asked again, if there is any. */
  forget(webhookIds: Iterable<number>): void {
    for (const id of webhookIds) this.#endSilence(id);
  }

  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#silent.values()) if (timer !== null) clearTimeout(timer);
  }

  async #work(): Promise<void> {
    try {
      for (let ticket = this.#waiting.shift(); ticket !== undefined; ticket = this.#waiting.shift()) {
        if (this.#isClosed) break;
        const { webhookId } = ticket.delivery;
        await this.#ask(ticket);
        const load = (this.#loads.get(webhookId) ?? 1) - 1;
        if (load > 0) this.#loads.set(webhookId, load);
        else this.#loads.delete(webhookId);
        if (load === 0) this.#options.onRoom();
      }
    } catch (error) {
      if (!this.#isClosed) this.#options.onFailure(error);
    }
    this.#isWorking = false;
  }

  async #ask(ticket: Ticket): Promise<void> {
    const { inForce, conditions, maxBodyBytes, report, onDecided } = this.#options;
    const { delivery } = ticket;
    const webhook = inForce().webhooks.get(delivery.webhookId);
    if (webhook === undefined) return this.#cancel(ticket);
    const silence = this.#silent.get(webhook.id);
    if (silence !== undefined && silence.timer !== null) return this.#putBack(ticket, silence.reason);
    const result = await reconsider(ticket, webhook, conditions, maxBodyBytes);
    if (result.kind === "later") {
      if (!inForce().webhooks.has(webhook.id)) return this.#cancel(ticket);
      this.#beSilent(webhook, result.reason);
      return this.#putBack(ticket, result.reason);
    }
    this.#endSilence(webhook.id);
    if (result.kind === "send") {
      ticket.request = result.request;
      return onDecided(ticket);
    }
    ticket.state = "ended";
    // A condition that does not hold: as if it had been asked at once.
    if (result.kind === "drop") {
      return report(
        ticket,
        webhook.logsDecisions ? unsentRecord(delivery, "declined", result.reason, Date.now()) : null,
      );
    }
    report(ticket, unsentRecord(delivery, result.outcome, result.reason, Date.now(), result.errorClass));
  }

  /** Back into the queue, due at once: its webhook's room says when. */
  #putBack(ticket: Ticket, reason: string): void {
    ticket.state = "parked";
    ticket.lastError = reason;
    ticket.dueAtMs = Date.now();
    this.#options.report(ticket, null);
  }

  #cancel(ticket: Ticket): void {
    ticket.state = "ended";
    const reason = "the webhook was deleted before this delivery could be made";
    this.#options.report(ticket, unsentRecord(ticket.delivery, "cancelled", reason, Date.now()));
  }

  #beSilent({ id }: Webhook, reason: string): void {
    const count = (this.#silent.get(id)?.count ?? 0) + 1;
    const timer = setTimeout(
      () => {
        this.#silent.set(id, { count, reason, timer: null });
        this.#options.onRoom();
      },
      Math.min(MIN_BACKOFF_MS * 2 ** (count - 1), MAX_BACKOFF_MS),
    );
    this.#silent.set(id, { count, reason, timer });
    if (count !== TROUBLE_AFTER) return;
    this.#shown.add(id);
    this.#options.onTrouble(id, reason);
  }

  #endSilence(id: number): void {
    if (this.#shown.delete(id)) this.#options.onTrouble(id, null);
    const silence = this.#silent.get(id);
    if (silence === undefined) return;
    this.#silent.delete(id);
    if (silence.timer !== null) clearTimeout(silence.timer);
    this.#options.onRoom();
  }
}

/** A condition that does not answer. */
interface Silence {
  /** Questions without an answer, in a row. */
  readonly count: number;
  readonly reason: string;
  /** Runs while it is left alone. */
  readonly timer: NodeJS.Timeout | null;
}
