import type { AttemptRecord } from "./attempt-record.ts";

/** The same webhook is written about at most so often: with a dynamic URL each of its requests may end otherwise. */
const EVERY_MS = 1_000;

export interface BlockedWebhooksOptions {
  /** What an earlier process has left: why each webhook was shown as blocked. */
  readonly shown: ReadonlyMap<number, string>;
  /** Shows why a webhook is blocked; null: it is so no longer. */
  readonly show: (webhookId: number, reason: string | null) => void;
}

/** Notices which webhooks the address guard keeps from sending, and shows it where a DBA looks. */
export class BlockedWebhooks {
  readonly #options: BlockedWebhooksOptions;
  readonly #shown: Map<number, string>;
  /** What is to be shown next. */
  readonly #news = new Map<number, string | null>();
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: BlockedWebhooksOptions) {
    this.#options = options;
    this.#shown = new Map(options.shown);
  }

  /** An attempt ended. */
  note({ delivery: { webhookId }, errorClass, error, attempt }: AttemptRecord): void {
    if (errorClass === "blocked_address") {
      if (this.#shown.has(webhookId)) this.#news.delete(webhookId);
      else this.#tell(webhookId, error ?? errorClass);
    } else if (attempt > 0) this.#clear(webhookId);
  }

  /** Webhooks that were changed may go elsewhere now; the next attempt tells. */
  forget(webhookIds: Iterable<number>): void {
    for (const id of webhookIds) this.#clear(id);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #clear(webhookId: number): void {
    if (this.#shown.has(webhookId)) this.#tell(webhookId, null);
    else this.#news.delete(webhookId);
  }

  #tell(webhookId: number, reason: string | null): void {
    this.#news.set(webhookId, reason);
    if (this.#timer === null && !this.#isClosed) this.#run();
  }

  #run(): void {
    const news = [...this.#news];
    this.#news.clear();
    this.#timer = null;
    if (news.length === 0) return;
    this.#timer = setTimeout(() => this.#run(), EVERY_MS);
    for (const [id, reason] of news) {
      this.#options.show(id, reason);
      if (reason === null) this.#shown.delete(id);
      else this.#shown.set(id, reason);
    }
  }
}
