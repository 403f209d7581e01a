import type { TransportResult } from "./transport.ts";

/** What follows from an attempt. */
export type Decision =
  | { readonly kind: "delivered" }
  | { readonly kind: "retry"; readonly dueAtMs: number }
  /** No attempt is left: the delivery stays in the queue as a dead letter. */
  | { readonly kind: "dead" };

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

const MAX_JITTER = 0.2;

/**
 * Decides after attempt number `attempt` (from 1). Only 2xx is success. Jitter is added, never taken away:
 * up to 20 % of the delay, so that no attempt comes earlier than promised.
 *
 * @param random a number from 0 to 1
 */
export function decideRetry(
  result: TransportResult,
  attempt: number,
  options: { readonly scheduleMs: readonly number[]; readonly nowMs: number; readonly random: number },
): Decision {
  if (result.kind === "response" && result.statusCode >= 200 && result.statusCode < 300) return { kind: "delivered" };
  const delayMs = options.scheduleMs[attempt - 1];
  if (delayMs === undefined) return { kind: "dead" };
  return { kind: "retry", dueAtMs: Math.ceil(options.nowMs + delayMs * (1 + MAX_JITTER * options.random)) };
}
