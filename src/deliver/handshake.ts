import type { Webhook } from "../match/webhook.ts";
import { isTemplated } from "../render/template.ts";
import { retryAfterMs } from "./retry-after.ts";
import type { TransportRequest, TransportResult } from "./transport.ts";
import { splitCredentials } from "./url-credentials.ts";

/** Who sends: in the question, and then in each delivery. */
export const ORIGIN_HEADER = "WebHook-Request-Origin";

/** What a webhook's receiver is asked about: where it is, and the way there. */
export type Asking = Pick<Webhook, "requestUrl" | "handshakeOrigin" | "rateLimit" | "route" | "headers" | "timeoutMs">;

/** What a receiver has answered. */
export type Consent =
  /** Requests a second that it takes at most; null: no bound. */
  | { readonly isGiven: true; readonly perSecond: number | null }
  /** When it wants to be asked again, in ms from then; null: it does not say. */
  | { readonly isGiven: false; readonly reason: string; readonly retryAfterMs: number | null };

/**
 * The question whether a receiver consents to deliveries: OPTIONS to the very URL, with origin and rate, and the headers
 * that do not depend on an event, since they may be what lets it in. It has no WebHook-Request-Callback: nobody listens here.
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md#41-validation-request
 * @throws an error that says what is wrong with the URL
 */
export function handshakeRequest({
  requestUrl,
  handshakeOrigin,
  rateLimit,
  route,
  headers,
  timeoutMs,
}: Asking): TransportRequest {
  const { url, authorization } = splitCredentials(requestUrl);
  const fixed = headers.filter(({ key, value }) => !isTemplated(value) && key.toLowerCase() !== "content-type");
  const isNamed = (name: string): boolean => fixed.some(({ key }) => key.toLowerCase() === name);
  const asking: [string, string][] = [[ORIGIN_HEADER, handshakeOrigin ?? ""]];
  // Whole requests a minute, at least one.
  if (rateLimit !== null) asking.push(["WebHook-Request-Rate", String(Math.max(1, Math.floor(rateLimit * 60)))]);
  if (!isNamed("user-agent")) asking.push(["user-agent", "walhook"]);
  if (authorization !== null && !isNamed("authorization")) asking.push(["authorization", authorization]);
  for (const { key, value } of fixed) asking.push([key, value]);
  return { url, method: "OPTIONS", headers: asking, body: Buffer.alloc(0), timeoutMs, route };
}

/**
 * Whether an answer is consent: 2xx with `WebHook-Allowed-Origin` that names the origin or is `*`. A status alone is none:
 * many servers answer OPTIONS. `WebHook-Allowed-Rate` is in requests a minute, or `*`; where it is missing there is no bound.
 */
export function judgeHandshake(result: TransportResult, origin: string, nowMs: number): Consent {
  const refuse = (reason: string): Consent => ({ isGiven: false, reason, retryAfterMs: retryAfterMs(result, nowMs) });
  if (result.kind === "failure") return refuse(`it could not be asked: ${result.message}`);
  const { statusCode, headers } = result;
  const allowed = headers["webhook-allowed-origin"]?.trim();
  if (statusCode < 200 || statusCode > 299) return refuse(`it answers OPTIONS with HTTP ${statusCode}`);
  if (allowed === undefined)
    return refuse(`it answers OPTIONS with HTTP ${statusCode}, without WebHook-Allowed-Origin`);
  if (allowed !== "*" && allowed.toLowerCase() !== origin.toLowerCase()) {
    return refuse(`it allows the origin "${allowed.slice(0, 300)}"`);
  }
  const rate = headers["webhook-allowed-rate"]?.trim();
  if (rate === undefined || rate === "*") return { isGiven: true, perSecond: null };
  if (!/^\d{1,9}$/.test(rate) || Number(rate) === 0)
    return refuse(`its WebHook-Allowed-Rate is "${rate.slice(0, 100)}"`);
  return { isGiven: true, perSecond: Number(rate) / 60 };
}
