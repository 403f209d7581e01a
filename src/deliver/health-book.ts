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
  readonly #healths: Map<number, Health>;
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
    this.#healths = new Map(options.known);
  }

  /** The breakers that are not closed. */
  get breakers(): ReadonlyMap<number, Breaker> {
    const all = [...this.#healths].map(([id, { breaker }]) => [id, breaker] as const);
    return new Map(all.filter(([, { kind }]) => kind !== "closed"));
  }

  /** An attempt succeeded, which left the webhook's breaker like this. */
  delivered(webhookId: number, breaker: Breaker, nowMs: number): void {
    const health = this.#healthOf(webhookId);
    const { state } = health;
    const isNews = health.failures > 0 || state !== "ok" || health.breaker.kind !== breaker.kind;
    health.delivered(breaker, nowMs);
    if (!isNews && nowMs < (this.#wellUntilMs.get(webhookId) ?? 0)) return;
    this.#wellUntilMs.set(webhookId, nowMs + WELL_EVERY_MS);
    this.#tell(webhookId, health.state !== state);
  }

  /** An attempt failed. Returns why the webhook has to be disabled, or null. */
  failed(webhook: Webhook, breaker: Breaker, error: string, nowMs: number): string | null {
    const health = this.#healthOf(webhook.id);
    const { state } = health;
    health.failed(breaker, error, nowMs);
    this.#tell(webhook.id, health.state !== state);
    if (!health.isHopeless(webhook.disableAfterMs, nowMs)) return null;
    const since = new Date(health.firstFailureAtMs ?? nowMs).toISOString();
    return `none of its ${health.failures} attempts since ${since} has succeeded, the last one: ${error}`;
  }

  /** It is being disabled. */
  disabled(webhookId: number): void {
    this.#healthOf(webhookId).state = "disabled";
  }

  /** A webhook's breaker closed, since time went by. */
  settled(webhookId: number): void {
    this.#healthOf(webhookId).closed();
    this.#tell(webhookId, true);
  }

  /** These webhooks were changed, which closes their breakers. */
  reconfigure(before: InForce, after: InForce, changed: Iterable<number>): void {
    for (const id of changed) {
      const health = this.#healths.get(id);
      if (health === undefined) continue;
      // One that was to be disabled is not, where it was changed before.
      const wasOff = before.webhooks.get(id)?.enabled === false || health.state === "disabled";
      const isEnabled = wasOff && after.webhooks.get(id)?.enabled === true;
      if (!isEnabled && health.breaker.kind === "closed") continue;
      if (isEnabled) health.enabled();
      else health.closed();
      this.#tell(id, false);
    }
    for (const id of this.#healths.keys()) if (!after.webhooks.has(id)) this.#healths.delete(id);
  }

  /** Writes what is left to say. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#writing;
    await this.#write();
  }

  #healthOf(webhookId: number): Health {
    let health = this.#healths.get(webhookId);
    if (health === undefined) this.#healths.set(webhookId, (health = new Health()));
    return health;
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
      const health = this.#healths.get(id);
      if (health !== undefined) news.set(id, health);
    }
    this.#news.clear();
    if (news.size === 0) return;
    for (const id of await this.#options.write(news)) this.#news.add(id);
  }
}
