import { retryAfterMs } from "./retry-after.ts";
import type { TransportResult } from "./transport.ts";

/** What follows from an attempt. */
export type Decision =
  | { readonly kind: "delivered" }
  | { readonly kind: "retry"; readonly dueAtMs: number }
  /** No attempt is left: the delivery stays in the queue as a dead letter. */
  | { readonly kind: "dead" }
  /** 410: the receiver wants nothing any more. The webhook is disabled, the delivery waits with the others. */
  | { readonly kind: "gone" };

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/**
 * The delays before each further attempt; the first attempt is at once. The schedule that Standard
 * Webhooks recommends, with one step more at its start: about 76 hours in all.
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export const DEFAULT_RETRY_SCHEDULE_MS: readonly number[] = [
  5 * SECOND,
  30 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
];

/** Jitter is added to a delay, up to this share of it. */
export const MAX_JITTER = 0.2;

/** The receiver read the request and will not have it: the same bytes again are hardly worth three attempts. */
export const HOPELESS_STATUS_CODES: readonly number[] = [400, 413, 414, 415, 422];
/** How many attempts such a delivery gets at most. */
export const HOPELESS_ATTEMPTS = 3;

/**
 * Decides after attempt number `attempt` (from 1). Only 2xx is success. A failure is tried again by the
 * schedule, later where the receiver asks for it (`Retry-After`). Jitter is added, never taken away, so
 * that no attempt comes earlier than promised.
 *
 * @param random a number from 0 to 1
 */
export function decideRetry(
  result: TransportResult,
  attempt: number,
  options: { readonly scheduleMs: readonly number[]; readonly nowMs: number; readonly random: number },
): Decision {
  const status = result.kind === "response" ? result.statusCode : 0;
  if (status >= 200 && status < 300) return { kind: "delivered" };
  if (status === 410) return { kind: "gone" };
  const scheduledMs = options.scheduleMs[attempt - 1];
  if (scheduledMs === undefined) return { kind: "dead" };
  if (HOPELESS_STATUS_CODES.includes(status) && attempt >= HOPELESS_ATTEMPTS) return { kind: "dead" };
  const delayMs = Math.max(scheduledMs, retryAfterMs(result, options.nowMs) ?? 0);
  return { kind: "retry", dueAtMs: Math.ceil(options.nowMs + delayMs * (1 + MAX_JITTER * options.random)) };
}
