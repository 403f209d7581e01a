import type { Webhook } from "../match/webhook.ts";
import { TokenBucket } from "./token-bucket.ts";

/** A webhook's rate limit as it is configured at the moment, and what of it is used up. */
export class RateLimit {
  /** Null: there is none. */
  #bucket: TokenBucket | null = null;
  #batchSize = 1;

  keepTo({ rateLimit, batchSize }: Pick<Webhook, "rateLimit" | "batchSize">, nowMs: number): void {
    this.#batchSize = batchSize;
    if (rateLimit === null) this.#bucket = null;
    else if (this.#bucket?.perSecond !== rateLimit) this.#bucket = new TokenBucket(rateLimit, nowMs);
  }

  /** A request begins. */
  take(nowMs: number): void {
    this.#bucket?.take(nowMs);
  }

  /** 0 where one may begin. */
  msUntilToken(nowMs: number): number {
    return this.#bucket?.msUntilToken(nowMs) ?? 0;
  }

  /** Whether nothing of it is used up. */
  isFull(nowMs: number): boolean {
    return this.#bucket?.isFull(nowMs) ?? true;
  }

  /** How many deliveries may stand ready for the next tokens; null where there is no limit. */
  get ahead(): number | null {
    return this.#bucket === null ? null : this.#bucket.ahead * this.#batchSize;
  }
}
