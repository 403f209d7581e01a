import type { Delivery } from "../render/delivery.ts";

/** How an attempt ended, or why there was none. The words of `webhook_request_log.outcome`. */
export type Outcome = "delivered" | "retry" | "dead" | "blocked" | "cancelled" | "undecidable" | "error";

/** One row of the log: one attempt of one delivery, or the reason why there was none (attempt 0). */
export interface AttemptRecord {
  readonly delivery: Delivery;
  /** Counts from 1; 0 where nothing was sent. */
  readonly attempt: number;
  /** The `webhook-id` of the request; null where nothing was sent. */
  readonly requestId: string | null;
  readonly outcome: Outcome;
  /** Milliseconds since 1970. */
  readonly sentAtMs: number;
  readonly durationMs: number | null;
  readonly statusCode: number | null;
  readonly errorClass: string | null;
  readonly error: string | null;
  readonly url: string | null;
  readonly method: string | null;
  /** Secrets redacted. */
  readonly requestHeaders: Readonly<Record<string, string>> | null;
  readonly requestBody: Buffer | null;
  readonly responseHeaders: Readonly<Record<string, string>> | null;
  readonly responseBody: string | null;
}

const MAX_ERROR_CHARACTERS = 4000;

/** The record of a delivery that was never sent. */
export function unsentRecord(
  delivery: Delivery,
  outcome: Outcome,
  error: string,
  atMs: number,
  errorClass: string | null = null,
): AttemptRecord {
  return {
    delivery,
    attempt: 0,
    requestId: null,
    outcome,
    sentAtMs: atMs,
    durationMs: null,
    statusCode: null,
    errorClass,
    // Postgres quotes the value that it could not read, however long it is.
    error: error.length > MAX_ERROR_CHARACTERS ? `${error.slice(0, MAX_ERROR_CHARACTERS)} …` : error,
    url: null,
    method: null,
    requestHeaders: null,
    requestBody: null,
    responseHeaders: null,
    responseBody: null,
  };
}
