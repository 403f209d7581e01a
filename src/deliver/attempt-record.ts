import type { Delivery } from "../render/delivery.ts";
import type { Trip } from "./transport.ts";

/**
 * How an attempt ended, or why there was none. The words of `webhook_request_log.outcome`, besides declined: a condition
 * did not hold, which stands in `webhook_decision`.
 */
export type Outcome = "delivered" | "retry" | "dead" | "blocked" | "cancelled" | "undecidable" | "error" | "declined";

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
  /** Host and port for the figures, as `counted-host.ts` says; empty where nothing was sent. */
  readonly host: string;
  readonly method: string | null;
  /** Values of harmless ones only, as `logged-headers.ts` says. */
  readonly requestHeaders: Readonly<Record<string, string>> | null;
  readonly requestBody: Buffer | null;
  readonly responseHeaders: Readonly<Record<string, string>> | null;
  readonly responseBody: string | null;
  /** Of the body that was sent, also where nothing of it is kept. */
  readonly requestBytes: number | null;
  readonly bodyKept: BodyKept | null;
  readonly trip: Trip | null;
  /** Numbers of the secrets that signed it. */
  readonly keyIds: readonly string[] | null;
}

/** How much of what was sent stands in `request_body`: all, its beginning, nothing; or it stands with the first of its batch. */
export type BodyKept = "whole" | "part" | "none" | "batch";

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
    host: "",
    method: null,
    requestHeaders: null,
    requestBody: null,
    responseHeaders: null,
    responseBody: null,
    requestBytes: null,
    bodyKept: null,
    trip: null,
    keyIds: null,
  };
}
