import type { Webhook } from "../match/webhook.ts";
import { isTemplated } from "../render/template.ts";
import type { AttemptRecord, Outcome } from "./attempt-record.ts";
import type { Parcel } from "./parcel.ts";
import type { KeyRing } from "./key-ring.ts";
import { signatureHeaders } from "./sign.ts";
import type { Ticket } from "./ticket.ts";
import type { Transport, TransportRequest, TransportResult } from "./transport.ts";

const USER_AGENT = "walhook";

/** An attempt that is over: what was sent and what came back. */
export interface Attempt {
  /** The `webhook-id` that was sent. */
  readonly id: string;
  readonly request: TransportRequest;
  readonly result: TransportResult;
  /** Milliseconds since 1970. */
  readonly sentAtMs: number;
}

/** What an attempt is made with. */
export interface Means {
  readonly transport: Transport;
  readonly keys: Pick<KeyRing, "keysOf">;
}

/**
 * Makes one attempt. Bytes, method and rendered values are the delivery's own; URL, static headers,
 * secrets and timeout are those of `webhook`, the configuration now in force, so that a mended URL drains the queue.
 * Never rejects.
 */
export async function attempt(parcel: Parcel, webhook: Webhook, { transport, keys }: Means): Promise<Attempt> {
  const frozen = parcel.request;
  const sentAtMs = Date.now();
  const unsigned = { method: frozen.method, body: frozen.body, timeoutMs: webhook.timeoutMs, route: webhook.route };
  try {
    const { url, authorization } = splitCredentials(frozen.url ?? webhook.requestUrl);
    const headers = headersOf(parcel, webhook, keys, sentAtMs);
    if (authorization !== null && !headers.some(([name]) => name.toLowerCase() === "authorization")) {
      headers.push(["authorization", authorization]);
    }
    const request = { ...unsigned, url, headers };
    return { id: parcel.id, request, result: await transport.send(request), sentAtMs };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      id: parcel.id,
      request: { ...unsigned, url: webhook.requestUrl, headers: [] },
      result: { kind: "failure", errorClass: "invalid_request", message, durationMs: 0 },
      sentAtMs,
    };
  }
}

/** Headers that say who signed what: no configured header replaces them. */
const OUR_OWN = new Set([
  "webhook-id",
  "webhook-timestamp",
  "webhook-signature",
  "x-frappe-webhook-signature",
  "content-length",
]);

function headersOf({ id, request: frozen }: Parcel, webhook: Webhook, keys: Means["keys"], sentAtMs: number) {
  const headers = signatureHeaders({
    keys: keys.keysOf(webhook, sentAtMs),
    formats: webhook.signatureFormats,
    id,
    timestampSeconds: Math.floor(sentAtMs / 1000),
    body: frozen.body,
  });
  const signed = headers.length;
  headers.push(["content-type", frozen.contentType], ["user-agent", USER_AGENT]);
  const rendered = new Set(frozen.headers.map(([name]) => name.toLowerCase()));
  const replace = (name: string, value: string): void => {
    const lower = name.toLowerCase();
    if (OUR_OWN.has(lower)) return;
    const at = headers.findIndex(([other]) => other.toLowerCase() === lower);
    if (at < 0) headers.push([name, value]);
    else if (at >= signed) headers[at] = [name, value];
  };
  // What is rendered, the content type too, was frozen with the body: also where a header rendered to nothing.
  for (const { key, value } of webhook.headers) {
    const lower = key.toLowerCase();
    if (lower !== "content-type" && !isTemplated(value) && !rendered.has(lower)) replace(key, value);
  }
  for (const [name, value] of frozen.headers) replace(name, value);
  return headers;
}

function splitCredentials(text: string): { url: string; authorization: string | null } {
  if (!text.includes("@")) return { url: text, authorization: null };
  const url = new URL(text);
  if (url.username === "" && url.password === "") return { url: text, authorization: null };
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = "";
  url.password = "";
  return { url: url.toString(), authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}

/** Request headers whose values the log shows; every other value may be a secret. */
const SHOWN = new Set(["content-type", "user-agent", "webhook-id", "webhook-timestamp"]);

/**
 * The attempt as a row of the log.
 *
 * @param isFirst of the deliveries of a batch the bodies stand with the first one only
 */
export function toRecord(
  { id, request, result, sentAtMs }: Attempt,
  { delivery, attempts }: Pick<Ticket, "delivery" | "attempts">,
  outcome: Outcome,
  isFirst = true,
): AttemptRecord {
  const requestHeaders: Record<string, string> = {};
  for (const [name, value] of request.headers) {
    requestHeaders[name] = SHOWN.has(name.toLowerCase()) ? value : "[redacted]";
  }
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
    method: request.method,
    requestHeaders,
    requestBody: isFirst ? request.body : null,
    responseHeaders: isResponse ? result.headers : null,
    responseBody: isResponse && isFirst ? result.body : null,
  };
}

function describeStatus({ statusCode, headers }: Extract<TransportResult, { kind: "response" }>): string {
  const location = headers["location"];
  if (statusCode >= 300 && statusCode < 400 && location !== undefined) {
    return `HTTP ${statusCode} to ${location}: redirects are not followed; set request_url to the new address`;
  }
  if (statusCode === 410) return "HTTP 410: the receiver wants nothing more, so the webhook was disabled";
  return `HTTP ${statusCode}`;
}
