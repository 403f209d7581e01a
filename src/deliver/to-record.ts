import type { Attempt } from "./attempt.ts";
import type { AttemptRecord, BodyKept, Outcome } from "./attempt-record.ts";
import { loggedRequestHeaders, loggedResponseHeaders, withoutSecrets } from "./logged-headers.ts";
import { remember } from "../remember.ts";
import type { Ticket } from "./ticket.ts";
import type { TransportResult } from "./transport.ts";

// The deliveries of a batch share one attempt.
const requestHeadersOf = remember(loggedRequestHeaders);
const responseHeadersOf = remember(loggedResponseHeaders);

/**
 * The attempt as a row of the log.
 *
 * @param isFirst of the deliveries of a batch the bodies stand with the first one only
 */
export function toRecord(
  { id, request, host, result, keyIds, kept, sentAtMs }: Attempt,
  { delivery, attempts }: Pick<Ticket, "delivery" | "attempts">,
  outcome: Outcome,
  isFirst = true,
): AttemptRecord {
  const { body } = request;
  const isResponse = result.kind === "response";
  const isSuccess = outcome === "delivered";
  const isBlocked = !isResponse && result.errorClass === "blocked_address";
  return {
    delivery,
    attempt: attempts,
    requestId: id,
    // Another attempt follows here, too; but nothing was sent.
    outcome: isBlocked && outcome === "retry" ? "blocked" : outcome,
    sentAtMs,
    durationMs: result.durationMs,
    statusCode: isResponse ? result.statusCode : null,
    errorClass: isResponse ? (isSuccess ? null : "http_status") : result.errorClass,
    error: isResponse ? (isSuccess ? null : describeStatus(result)) : result.message,
    url: request.url,
    host,
    method: request.method,
    requestHeaders: requestHeadersOf(request.headers),
    requestBody: isFirst && kept.requestBytes !== 0 ? firstBytes(body, kept.requestBytes) : null,
    responseHeaders: isResponse ? responseHeadersOf(result.headers) : null,
    responseBody: isResponse && isFirst ? firstOfText(result.body, kept.responseBytes) : null,
    requestBytes: body.length,
    bodyKept: isFirst ? keptOf(body, kept.requestBytes) : "batch",
    trip: result.trip ?? null,
    keyIds,
  };
}

function keptOf({ length }: Buffer, limit: number | null): BodyKept {
  if (limit === null || length <= limit) return "whole";
  return limit === 0 ? "none" : "part";
}

/** The beginning of UTF-8, without a character that is cut in two. */
function firstBytes(text: Buffer, limit: number | null): Buffer {
  if (limit === null || text.length <= limit) return text;
  let end = limit;
  while (end > 0 && (text[end]! & 0xc0) === 0x80) end--;
  return text.subarray(0, end);
}

function firstOfText(text: string, limit: number | null): string | null {
  if (limit === null) return text;
  return limit === 0 ? null : firstBytes(Buffer.from(text), limit).toString("utf8");
}

function describeStatus({ statusCode, headers }: Extract<TransportResult, { kind: "response" }>): string {
  const location = headers["location"];
  if (statusCode >= 300 && statusCode < 400 && location !== undefined) {
    return `HTTP ${statusCode} to ${withoutSecrets(location)}: redirects are not followed; set request_url to the new address`;
  }
  if (statusCode === 410) return "HTTP 410: the receiver wants nothing more";
  return `HTTP ${statusCode}`;
}
