import type { WebhookStates } from "../db/webhook-states.ts";
import type { Webhook } from "../match/webhook.ts";
import type { Packing } from "./desk.ts";
import { handshakeRequest, judgeHandshake, type Consent } from "./handshake.ts";
import type { Transport } from "./transport.ts";

const EVERY_MS = 1_000;
const MIN_BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 5 * 60_000;
/** Questions under way at once, of all webhooks. */
const MAX_OPEN = 20;

export interface HandshakesOptions {
  readonly states: WebhookStates;
  readonly transport: Transport;
  /** Whether a webhook is held for another reason, which is the one that is shown. */
  readonly isHeldOtherwise: (webhook: Webhook) => boolean;
  /** A webhook may send now. */
  readonly onChange: () => void;
}

/** How it stands with one webhook's receiver. */
interface Standing {
  /** What it was asked about: another URL has to be asked anew. */
  readonly key: string;
  /** The webhook as it was when this was last looked at. */
  seen: Webhook;
  isAsking: boolean;
  /** What it answered last; null: nothing yet. */
  consent: Consent | null;
  refusals: number;
  nextAtMs: number;
}

/**
 * Asks the receivers of webhooks with `handshake` for their consent before anything is sent: when this process starts, when
 * the URL or another thing that is asked about changes, and again with backoff where they refuse or do not answer. A
 * webhook without consent is held, visibly, and nothing of it is lost.
 */
export class Handshakes {
  readonly #options: HandshakesOptions;
  readonly #standings = new Map<number, Standing>();
  /** The reasons that stand in `walhook.webhook_state`, by webhook number. */
  readonly #shown = new Map<number, string>();
  /** Those held for another reason at the last look: its watch is still about to write that this is over. */
  #others: ReadonlySet<number> = new Set();
  readonly #bounded = new WeakMap<Webhook, Packing>();
  #webhooks: () => Iterable<Webhook> = () => [];
  #timer: NodeJS.Timeout | null = null;
  #open = 0;
  #isClosed = false;

  constructor(options: HandshakesOptions) {
    this.#options = options;
  }

  /** Asks those in force, and looks again every second. */
  start(webhooks: () => Iterable<Webhook>): void {
    this.#webhooks = webhooks;
    this.#timer = setInterval(() => this.look(), EVERY_MS);
    this.look();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** Why nothing may be sent to a webhook's receiver; null where it has consented, or need not. */
  problemOf(webhook: Webhook): string | null {
    if (webhook.handshakeOrigin === null) return null;
    const consent = this.#standingOf(webhook)?.consent ?? null;
    if (consent?.isGiven === true) return null;
    const reason = consent?.reason ?? "it has not answered yet";
    return (
      `its receiver has not consented to deliveries: ${reason}. It must answer OPTIONS with ` +
      `WebHook-Allowed-Origin: ${webhook.handshakeOrigin}; or set handshake = false`
    );
  }

  /** The webhook's own packing, at no higher rate than its receiver has allowed. */
  packingOf(webhook: Webhook): Packing {
    if (webhook.handshakeOrigin === null) return webhook;
    const consent = this.#standingOf(webhook)?.consent;
    const perSecond = consent?.isGiven === true ? consent.perSecond : null;
    if (perSecond === null || (webhook.rateLimit !== null && webhook.rateLimit <= perSecond)) return webhook;
    let packing = this.#bounded.get(webhook);
    if (packing?.rateLimit !== perSecond) this.#bounded.set(webhook, (packing = { ...webhook, rateLimit: perSecond }));
    return packing;
  }

  /** Something of the configuration may have changed. */
  look(): void {
    if (this.#isClosed || this.#timer === null) return;
    this.#askDue();
    this.#show();
  }

  #standingOf(webhook: Webhook): Standing | undefined {
    const standing = this.#standings.get(webhook.id);
    return standing?.seen === webhook || standing?.key === keyOf(webhook) ? standing : undefined;
  }

  #askDue(): void {
    const nowMs = Date.now();
    const wanted = new Set<number>();
    for (const webhook of this.#webhooks()) {
      if (webhook.handshakeOrigin === null) continue;
      wanted.add(webhook.id);
      let standing = this.#standingOf(webhook);
      if (standing === undefined) {
        standing = { key: keyOf(webhook), seen: webhook, isAsking: false, consent: null, refusals: 0, nextAtMs: 0 };
        this.#standings.set(webhook.id, standing);
      } else if (standing.seen !== webhook) {
        // Whoever changes a webhook has perhaps mended what it was refused for.
        standing.seen = webhook;
        standing.refusals = 0;
        standing.nextAtMs = 0;
      }
      if (standing.isAsking || standing.consent?.isGiven === true || nowMs < standing.nextAtMs) continue;
      if (!webhook.enabled || this.#open >= MAX_OPEN || this.#options.isHeldOtherwise(webhook)) continue;
      void this.#ask(standing);
    }
    for (const id of this.#standings.keys()) if (!wanted.has(id)) this.#standings.delete(id);
  }

  async #ask(standing: Standing): Promise<void> {
    const webhook = standing.seen;
    standing.isAsking = true;
    this.#open++;
    const consent = await this.#consentOf(webhook);
    this.#open--;
    standing.isAsking = false;
    // Changed meanwhile: what it was refused for may be mended, and the next look asks again.
    if (consent.isGiven || standing.seen === webhook) {
      standing.consent = consent;
      standing.refusals++;
      const backoffMs = Math.min(MIN_BACKOFF_MS * 2 ** (standing.refusals - 1), MAX_BACKOFF_MS);
      standing.nextAtMs = Date.now() + Math.max(backoffMs, consent.isGiven ? 0 : (consent.retryAfterMs ?? 0));
    }
    if (this.#isClosed) return;
    this.look();
    if (consent.isGiven) this.#options.onChange();
  }

  async #consentOf(webhook: Webhook): Promise<Consent> {
    try {
      const result = await this.#options.transport.send(handshakeRequest(webhook));
      return judgeHandshake(result, webhook.handshakeOrigin ?? "", Date.now());
    } catch (error) {
      const reason = `it cannot be asked: ${error instanceof Error ? error.message : String(error)}`;
      return { isGiven: false, reason, retryAfterMs: null };
    }
  }

  /** Puts it where a DBA looks. Nothing is written while nothing changes. */
  #show(): void {
    const { states, isHeldOtherwise } = this.#options;
    const problems = new Map<number, string>();
    const others = new Set<number>();
    for (const webhook of this.#webhooks()) {
      if (webhook.handshakeOrigin === null || this.#standingOf(webhook)?.consent?.isGiven !== false) continue;
      if (isHeldOtherwise(webhook)) others.add(webhook.id);
      else if (!this.#others.has(webhook.id)) problems.set(webhook.id, this.problemOf(webhook) ?? "");
    }
    this.#others = others;
    const news: [number, string | null][] = [];
    for (const id of this.#shown.keys()) {
      if (problems.has(id)) continue;
      this.#shown.delete(id);
      news.push([id, null]);
    }
    for (const [id, problem] of problems) {
      if (this.#shown.get(id) === problem) continue;
      this.#shown.set(id, problem);
      news.push([id, problem]);
    }
    for (const [id, problem] of news) states.show("consent", id, "held", problem);
  }
}

function keyOf({ requestUrl, handshakeOrigin, rateLimit, route }: Webhook): string {
  return JSON.stringify([requestUrl, handshakeOrigin, rateLimit, route]);
}
