import type { TransportResult } from "./transport.ts";

/** What a receiver may ask for at most: whoever says more is tried again after a day. */
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1_000;

/** The three forms of RFC 9110 section 5.6.7 begin with a day's name; `Date.parse` alone would take far more. */
const HTTP_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? .*\d\d:\d\d:\d\d/;

/**
 * How long a receiver asks us to wait, in ms, at most a day; null where it does not ask, or not in words
 * that we know. Both forms: whole seconds, and a date.
 * https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function retryAfterMs(result: TransportResult, nowMs: number): number | null {
  const text = result.kind === "response" ? result.headers["retry-after"]?.trim() : undefined;
  if (text === undefined) return null;
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1_000 : HTTP_DATE.test(text) ? dateMs(text) - nowMs : Number.NaN;
  return Number.isNaN(waitMs) ? null : Math.min(Math.max(waitMs, 0), MAX_RETRY_AFTER_MS);
}

/** The oldest form, of asctime, names no zone and means UTC like the others. */
function dateMs(text: string): number {
  return Date.parse(/(GMT|UTC)$/.test(text) ? text : `${text} GMT`);
}

/**
 * For how long nothing at all may be sent to this receiver: it is overloaded or away (429, 503) and says
 * until when; null where only the delivery at hand has to wait.
 */
export function pauseMs(result: TransportResult, nowMs: number): number | null {
  const isOverloaded = result.kind === "response" && (result.statusCode === 429 || result.statusCode === 503);
  return isOverloaded ? retryAfterMs(result, nowMs) : null;
}
