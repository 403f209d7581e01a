import type { InForce } from "../match/in-force.ts";
import type { Webhook } from "../match/webhook.ts";
import type { Breaker } from "./breaker.ts";
import { Health } from "./health.ts";

/** So often what is new is written at most, about all webhooks together. */
const EVERY_MS = 1_000;
/** While all goes well, that it does so is written no more often. */
const WELL_EVERY_MS = 10_000;

export interface HealthBookOptions {
  /** What an earlier process has left, by webhook number. */
  readonly known: ReadonlyMap<number, Health>;
  /** Writes how these webhooks do now; gives back those that are to be written later. */
  readonly write: (news: ReadonlyMap<number, Health>) => Promise<readonly number[]>;
  readonly onFailure: (error: unknown) => void;
}

/**
 * Keeps how each webhook does, and has it written where a DBA looks: what changed at once, counters once a second while
 * something fails, and while all goes well every ten seconds that something is delivered. Nothing is written while
 * nothing happens.
 */
export class HealthBook {
  readonly #options: HealthBookOptions;
  readonly #pages: Map<number, Health>;
  /** Up to when the successes of each are written. */
  readonly #wellUntilMs = new Map<number, number>();
  /** Of whom there is something to write. */
  readonly #news = new Set<number>();
  #timer: NodeJS.Timeout | null = null;
  #isWriting = false;
  /** Something new does not wait for its second. */
  #isUrgent = false;
  #writing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: HealthBookOptions) {
    this.#options = options;
    this.#pages = new Map(options.known);
  }

  /** The breakers that are not closed. */
  get breakers(): ReadonlyMap<number, Breaker> {
    const all = [...this.#pages].map(([id, { breaker }]) => [id, breaker] as const);
    return new Map(all.filter(([, { kind }]) => kind !== "closed"));
  }

  /** An attempt succeeded, which left the webhook's breaker like this. */
  delivered(webhookId: number, breaker: Breaker, nowMs: number): void {
    const page = this.#page(webhookId);
    const { verdict } = page;
    const isNews = page.failures > 0 || verdict !== "ok" || page.breaker.kind !== breaker.kind;
    page.delivered(breaker, nowMs);
    if (!isNews && nowMs < (this.#wellUntilMs.get(webhookId) ?? 0)) return;
    this.#wellUntilMs.set(webhookId, nowMs + WELL_EVERY_MS);
    this.#tell(webhookId, page.verdict !== verdict);
  }

  /** An attempt failed. Returns why the webhook has to be disabled, or null. */
  failed(webhook: Webhook, breaker: Breaker, error: string, nowMs: number): string | null {
    const page = this.#page(webhook.id);
    const { verdict } = page;
    page.failed(breaker, error, nowMs);
    this.#tell(webhook.id, page.verdict !== verdict);
    if (!page.isHopeless(webhook.disableAfterMs, nowMs)) return null;
    const since = new Date(page.firstFailureAtMs ?? nowMs).toISOString();
    return `none of its ${page.failures} attempts since ${since} has succeeded, the last one: ${error}`;
  }

  /** It is being disabled. */
  disabled(webhookId: number): void {
    this.#page(webhookId).verdict = "disabled";
  }

  /** A webhook's breaker closed, since time went by. */
  settled(webhookId: number): void {
    this.#page(webhookId).closed();
    this.#tell(webhookId, true);
  }

  /** These webhooks were changed, which closes their breakers. */
  reconfigure(before: InForce, after: InForce, changed: Iterable<number>): void {
    for (const id of changed) {
      const page = this.#pages.get(id);
      if (page === undefined) continue;
      const isEnabled = before.webhooks.get(id)?.enabled === false && after.webhooks.get(id)?.enabled === true;
      if (!isEnabled && page.breaker.kind === "closed") continue;
      if (isEnabled) page.enabled();
      else page.closed();
      this.#tell(id, false);
    }
    for (const id of this.#pages.keys()) if (!after.webhooks.has(id)) this.#pages.delete(id);
  }

  /** Writes what is left to say. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#writing;
    await this.#write();
  }

  #page(webhookId: number): Health {
    let page = this.#pages.get(webhookId);
    if (page === undefined) this.#pages.set(webhookId, (page = new Health()));
    return page;
  }

  /** @param isUrgent it goes from one state into another: that does not wait for its second */
  #tell(webhookId: number, isUrgent: boolean): void {
    this.#news.add(webhookId);
    this.#isUrgent ||= isUrgent;
    if (this.#isWriting || (this.#timer !== null && !isUrgent)) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#run();
  }

  #run(): void {
    this.#timer = null;
    if (this.#news.size === 0 || this.#isClosed) return;
    this.#isWriting = true;
    this.#isUrgent = false;
    this.#writing = this.#write().then(
      () => {
        this.#isWriting = false;
        if (this.#isUrgent) this.#run();
        else if (!this.#isClosed) this.#timer = setTimeout(() => this.#run(), EVERY_MS);
      },
      (error: unknown) => void (this.#isClosed || this.#options.onFailure(error)),
    );
  }

  async #write(): Promise<void> {
    const news = new Map<number, Health>();
    for (const id of this.#news) {
      const page = this.#pages.get(id);
      if (page !== undefined) news.set(id, page);
    }
    this.#news.clear();
    if (news.size === 0) return;
    for (const id of await this.#options.write(news)) this.#news.add(id);
  }
}
