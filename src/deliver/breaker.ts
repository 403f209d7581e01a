import { pauseMs } from "./retry-after.ts";
import type { TransportResult } from "./transport.ts";

/**
 * What is known of one webhook's receiver, and how much is sent to it:
 *
 *     closed ──trouble──> open ──time is up, a probe begins──> half_open ──answers──> closed
 *                          ^                                       │
 *                          └───────────────trouble─────────────────┘
 *
 * Values are never changed: each function makes the next one, or returns the same.
 */
export type Breaker = Closed | Open | HalfOpen;

export interface Closed {
  readonly kind: "closed";
  /** Requests that may be under way at once; Infinity: all that the webhook may have. */
  readonly limit: number;
  readonly failuresInRow: number;
  /** Attempts since one failed, for a minute; null: none has failed lately. */
  readonly recent: { readonly sinceMs: number; readonly attempts: number; readonly failures: number } | null;
}

/** Nothing is sent. */
export interface Open {
  readonly kind: "open";
  readonly sinceMs: number;
  readonly untilMs: number;
  /** For how long it would be open if the receiver had not asked for more. */
  readonly openMs: number;
  /** How often it has opened since it was closed; 0: only since the receiver asked for a pause. */
  readonly openings: number;
}

/** One request at a time, then two, then four. */
export interface HalfOpen {
  readonly kind: "half_open";
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly openMs: number;
  readonly openings: number;
  /** Answers since it was open. */
  readonly answers: number;
  readonly answeredAtMs: number;
}

/** Nothing is known against the receiver. */
export const CLOSED: Closed = { kind: "closed", limit: Infinity, failuresInRow: 0, recent: null };

/** So many failures in a row open it, */
const FAILURES_IN_A_ROW = 5;
/** or half of so many attempts within so long. */
const RECENT_ATTEMPTS = 10;
const RECENT_MS = 60_000;
/** Closed after so many answers, or after one when nothing has failed for a while. */
const ANSWERS = 3;
const QUIET_MS = 60_000;
const FIRST_OPEN_MS = 30_000;
/** By how much the clock of the machine that opened it may be ahead of ours. */
const MAX_SKEW_MS = 60_000;
const MAX_OPEN_MS = 15 * 60_000;

/** How an attempt ended, as far as the breaker has to know. */
export interface Circumstances {
  readonly nowMs: number;
  /** The webhook's delays before each further attempt. */
  readonly scheduleMs: readonly number[];
  /** Attempts made of the delivery at hand. */
  readonly attempts: number;
  /** Requests that the webhook may have under way at once. */
  readonly maxSending: number;
}

/** Requests that may be under way at once. */
export function limitOf(breaker: Breaker): number {
  if (breaker.kind === "closed") return breaker.limit;
  return breaker.kind === "open" ? 1 : 2 ** breaker.answers;
}

/** How long nothing may be sent, in ms. */
export function openMsLeft(breaker: Breaker, nowMs: number): number {
  if (breaker.kind !== "open") return 0;
  // A clock that was set back ends the pause: one request costs less than to wait for that time to come again.
  if (breaker.sinceMs - nowMs > MAX_SKEW_MS) return 0;
  return Math.max(0, breaker.untilMs - nowMs);
}

/** A request begins, which `openMsLeft` and `limitOf` allowed: where the breaker was open, it is the probe. */
export function begin(breaker: Breaker): Breaker {
  return breaker.kind === "open" ? { ...breaker, kind: "half_open", answers: 0, answeredAtMs: 0 } : breaker;
}

/** An attempt ended. What began before the breaker opened changes nothing, but for a longer pause that it asks for. */
export function note(breaker: Breaker, result: TransportResult, at: Circumstances): Breaker {
  if (!wasSent(result)) return breaker;
  if (!isTrouble(result)) return answered(breaker, at);
  switch (breaker.kind) {
    case "closed": {
      const next = failed(breaker, at.nowMs);
      if (isTooMuch(next)) return opened({ openMs: 0, openings: 0 }, result, at);
      const askedMs = pauseMs(result, at.nowMs) ?? 0;
      if (askedMs === 0) return next;
      return { kind: "open", sinceMs: at.nowMs, untilMs: at.nowMs + askedMs, openMs: 0, openings: 0 };
    }
    case "open": {
      const untilMs = at.nowMs + (pauseMs(result, at.nowMs) ?? 0);
      return untilMs > breaker.untilMs ? { ...breaker, untilMs } : breaker;
    }
    case "half_open":
      return opened(breaker, result, at);
    default:
      return breaker satisfies never;
  }
}

/** Closed where it has waited long enough for further answers: there was nothing more to send. */
export function settle(breaker: Breaker, nowMs: number): Breaker {
  return msUntilSettled(breaker, nowMs) === 0 ? CLOSED : breaker;
}

/** When `settle` closes it, in ms from now; Infinity: not by time alone. */
export function msUntilSettled(breaker: Breaker, nowMs: number): number {
  if (breaker.kind !== "half_open" || breaker.answers === 0) return Infinity;
  return Math.max(0, breaker.answeredAtMs + QUIET_MS - nowMs);
}

/** Whether a request left at all: what we refuse to send tells nothing of the receiver. */
export function wasSent(result: TransportResult): boolean {
  return (
    result.kind === "response" || (result.errorClass !== "blocked_address" && result.errorClass !== "invalid_request")
  );
}

/** No answer, or one that speaks of the receiver's own state. What it refuses it has at least read. */
function isTrouble(result: TransportResult): boolean {
  if (result.kind === "failure") return true;
  return result.statusCode >= 500 || result.statusCode === 408 || result.statusCode === 429;
}

function answered(breaker: Breaker, { nowMs, maxSending }: Circumstances): Breaker {
  if (breaker === CLOSED || breaker.kind === "open") return breaker;
  if (breaker.kind === "half_open") {
    const answers = breaker.answers + 1;
    if (answers < ANSWERS) return { ...breaker, answers, answeredAtMs: nowMs };
    return closed(2 ** answers, null, maxSending);
  }
  const { limit, recent } = breaker;
  const isOld = recent === null || nowMs - recent.sinceMs >= RECENT_MS;
  return closed(limit * 2, isOld ? null : { ...recent, attempts: recent.attempts + 1 }, maxSending);
}

function closed(limit: number, recent: Closed["recent"], maxSending: number): Closed {
  const isFull = limit >= maxSending;
  if (isFull && recent === null) return CLOSED;
  return { kind: "closed", limit: isFull ? Infinity : limit, failuresInRow: 0, recent };
}

function failed(breaker: Closed, nowMs: number): Closed {
  const { recent } = breaker;
  const isOld = recent === null || nowMs - recent.sinceMs >= RECENT_MS;
  return {
    ...breaker,
    failuresInRow: breaker.failuresInRow + 1,
    recent: isOld
      ? { sinceMs: nowMs, attempts: 1, failures: 1 }
      : { ...recent, attempts: recent.attempts + 1, failures: recent.failures + 1 },
  };
}

function isTooMuch({ failuresInRow, recent }: Closed): boolean {
  if (failuresInRow >= FAILURES_IN_A_ROW) return true;
  return recent !== null && recent.attempts >= RECENT_ATTEMPTS && recent.failures * 2 >= recent.attempts;
}

function opened(former: Pick<Open, "openMs" | "openings">, result: TransportResult, at: Circumstances): Open {
  const { nowMs } = at;
  const openMs = nextOpenMs(former.openMs, at);
  const untilMs = nowMs + Math.max(openMs, pauseMs(result, nowMs) ?? 0);
  return { kind: "open", sinceMs: nowMs, untilMs, openMs, openings: former.openings + 1 };
}

/**
 * For how long it opens: at first until the delivery at hand is due again, at most 30 s; then twice as long each time, up
 * to 15 minutes, and never longer than the longest delay of the schedule.
 */
function nextOpenMs(formerMs: number, { scheduleMs, attempts }: Circumstances): number {
  const firstMs = Math.min(FIRST_OPEN_MS, scheduleMs[attempts - 1] ?? FIRST_OPEN_MS);
  return Math.min(Math.max(2 * formerMs, firstMs), MAX_OPEN_MS, Math.max(0, ...scheduleMs));
}
