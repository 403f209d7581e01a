import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type pg from "pg";
import { readDefinition } from "../db/read-definitions.ts";
import type { WebhookDefinition } from "../db/schema.ts";
import type { Relation } from "../decode/relation.ts";
import { prepare } from "../deliver/attempt.ts";
import { isByItself } from "../deliver/gather-batch.ts";
import { KeyRing } from "../deliver/key-ring.ts";
import { batchOf, bundle, single, type Parcel } from "../deliver/parcel.ts";
import type { SecretSources } from "../deliver/secret-reference.ts";
import { newTicket } from "../deliver/ticket.ts";
import type { TransportRequest } from "../deliver/transport.ts";
import type { Conditions } from "../match/conditions.ts";
import { InForce } from "../match/in-force.ts";
import { match } from "../match/match.ts";
import type { Webhook } from "../match/webhook.ts";
import type { Order } from "../render/delivery.ts";
import { orderChunks } from "../render/order-chunk.ts";
import { describeAsked, toAskedEvent, type AskedEvent } from "./asked-event.ts";
import type { AskedRow, Previewed, PreviewQuestion } from "./preview-question.ts";

export interface PreviewMeans {
  /** Asked one by one, apart from live events. */
  readonly conditions: Pick<Conditions, "askParked">;
  readonly places: SecretSources;
  readonly maxBodyBytes: number;
  /** Why nothing is signed though the webhook says so; null: as it says. */
  readonly unsignedBecause: string | null;
}

/** Whether an event of one document would be sent. */
export interface Judgement {
  /** Null: there is no condition, or nobody can say. */
  readonly conditionHolds: boolean | null;
  /** Why it would not be sent; null where it would. */
  readonly reason: string | null;
}

/**
 * Says what a webhook would send for documents that exist, by the functions that the pipe is made of, in the configuration
 * that is committed now.
 */
export class Previewer {
  readonly webhook: Webhook;
  readonly keys: KeyRing;
  readonly #question: PreviewQuestion;
  readonly #relation: Relation;
  readonly #inForce: InForce;
  readonly #isSecured: boolean;
  readonly #means: PreviewMeans;

  private constructor(
    question: PreviewQuestion,
    relation: Relation,
    definition: WebhookDefinition,
    means: PreviewMeans,
  ) {
    this.#question = question;
    this.#relation = relation;
    this.#means = means;
    this.#isSecured = definition.webhook["enable_security"] === "t";
    this.keys = new KeyRing(means.places);
    // Whether it is enabled and watches for the event is said beside what it would send.
    const watching = { ...definition.webhook, enabled: "t", webhook_docevent: question.event, log_decisions: "t" };
    this.#inForce = new InForce(new Map([[question.webhookId, { ...definition, webhook: watching }]]));
    this.webhook = this.#inForce.webhooks.get(question.webhookId) as Webhook;
  }

  /**
   * Reads what the question needs.
   * @throws where the webhook does not exist any more, and the database's errors
   */
  static async open(client: pg.ClientBase, question: PreviewQuestion, means: PreviewMeans): Promise<Previewer> {
    const definition = await readDefinition(client, question.webhookId, means.unsignedBecause === null);
    if (definition === null) throw new Error("the webhook does not exist any more");
    const relation = await describeAsked(client, question);
    const previewer = new Previewer(question, relation, definition, means);
    await previewer.keys.refresh([previewer.webhook]);
    return previewer;
  }

  /** What would be sent for each document, one after the other. */
  async *previews(): AsyncGenerator<Previewed> {
    for (const row of this.#question.rows) {
      yield await this.#preview(row);
      // Where no condition is asked nothing else would have its turn before the last one.
      await setImmediate();
    }
  }

  async #preview(row: AskedRow): Promise<Previewed> {
    const asked = this.eventOf(row);
    const { conditionHolds, reason } = await this.judge(asked);
    const id = this.#question.id ?? randomId();
    const order = this.orderOf(asked, id);
    const known = {
      docname: asked.event.docname,
      event: asked.event.name,
      condition_holds: conditionHolds,
      id,
      sent_at: new Date(this.#question.sentAtMs).toISOString(),
    };
    const nothing = { method: null, url: null, headers: null, body: null, signature: null };
    if (order.kind !== "request") return { ...known, ...nothing, fires: false, reason: joined(reason, order.reason) };
    try {
      const { method, url, headers, body } = this.requestOf(this.parcelOf(order));
      const remark = this.#isSecured ? this.#means.unsignedBecause : null;
      return {
        ...known,
        fires: reason === null,
        reason: joined(reason, remark),
        method,
        url,
        headers: Object.fromEntries(headers),
        body: body.toString("utf8"),
        signature: signatureOf(headers),
      };
    } catch (error) {
      return { ...known, ...nothing, fires: false, reason: joined(reason, (error as Error).message) };
    }
  }

  eventOf(row: AskedRow): AskedEvent {
    return toAskedEvent(this.#question, row, this.#relation);
  }

  /** Whether an event would be sent. */
  async judge({ event, happens }: AskedEvent): Promise<Judgement> {
    const { isWatched, isEnabled, held, waits } = this.#question;
    const { conditions } = this.#means;
    const asker = {
      ask: (questions: Parameters<Conditions["ask"]>[0]) =>
        Promise.all(questions.map(async (question) => [await conditions.askParked(question)])),
    };
    const [found] = await match([event], this.#inForce, new Map(), asker);
    const holds = found?.kind === "fires" ? true : found?.kind === "declined" ? false : null;
    const unsigned = this.#means.unsignedBecause === null ? this.keys.problemOf(this.webhook, Date.now()) : null;
    const reasons = [
      isEnabled ? null : "the webhook is disabled",
      isWatched ? null : `the webhook does not watch for ${event.name}`,
      happens ? null : `such a change of this row is no ${event.name}`,
      held === null ? null : `the webhook is held: ${held}`,
      unsigned === held ? null : unsigned,
      waits,
      found === undefined || found.kind === "fires" ? null : found.reason,
    ];
    return {
      conditionHolds: this.webhook.condition === null ? null : holds,
      reason: joined(...reasons),
    };
  }

  /** What is frozen of the event as if it fired. */
  orderOf({ event }: AskedEvent, id: string): Order {
    const chunk = {
      matches: [{ webhook: this.webhook, event, kind: "fires" as const }],
      position: event.change.position,
      flushLsn: 0n,
      bytes: 0,
      change: null,
    };
    const [part] = orderChunks(chunk, () => id, this.#means.maxBodyBytes);
    return part!.orders[0]!;
  }

  /** The order as a request by itself: of a webhook with batches, a batch of one. */
  parcelOf({ delivery, request }: Order & { readonly kind: "request" }): Parcel {
    const ticket = newTicket(delivery, request);
    return this.webhook.batchSize === 1 || isByItself(ticket) ? single(ticket) : bundle(batchOf([ticket]));
  }

  /** Signed with what signs now, for the moment that was asked about. */
  requestOf(parcel: Parcel): TransportRequest {
    const keys = { keysOf: (webhook: Webhook) => this.keys.keysOf(webhook, Date.now()) };
    return prepare(parcel, this.webhook, keys, this.#question.sentAtMs);
  }
}

function joined(...reasons: readonly (string | null)[]): string | null {
  return reasons.filter((reason) => reason !== null).join("; ") || null;
}

/** As long as a delivery's own. */
function randomId(): string {
  return `msg_${randomBytes(24).toString("hex")}`;
}

const SIGNATURES = ["webhook-signature", "stripe-signature", "x-hub-signature-256", "x-frappe-webhook-signature"];

function signatureOf(headers: TransportRequest["headers"]): string | null {
  for (const name of SIGNATURES) {
    const found = headers.find(([other]) => other.toLowerCase() === name);
    if (found !== undefined) return found[1];
  }
  return null;
}
