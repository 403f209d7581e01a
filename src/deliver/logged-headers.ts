/**
 * Headers of a request whose values the log shows: what Walhook itself says of the request. Every other one, signatures
 * too, may be a secret.
 */
const REQUEST_HEADERS: ReadonlySet<string> = new Set([
  "ce-datacontenttype",
  "ce-id",
  "ce-lsn",
  "ce-source",
  "ce-specversion",
  "ce-subject",
  "ce-time",
  "ce-type",
  "ce-xid",
  "content-type",
  "user-agent",
  "webhook-id",
  "webhook-request-origin",
  "webhook-test",
  "webhook-timestamp",
]);

/** Headers of an answer whose values the log shows: what helps to find it at the receiver's, or says when to come again. */
const RESPONSE_HEADERS: ReadonlySet<string> = new Set([
  "age",
  "allow",
  "cache-control",
  "cf-ray",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "date",
  "keep-alive",
  "location",
  "ratelimit",
  "ratelimit-limit",
  "ratelimit-policy",
  "ratelimit-remaining",
  "ratelimit-reset",
  "request-id",
  "retry-after",
  "server",
  "server-timing",
  "traceparent",
  "transfer-encoding",
  "vary",
  "via",
  "webhook-delivery",
  "x-amz-cf-id",
  "x-amzn-requestid",
  "x-amzn-trace-id",
  "x-cache",
  "x-correlation-id",
  "x-powered-by",
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-ratelimit-reset",
  "x-request-id",
  "x-response-time",
  "x-trace-id",
]);

const REDACTED = "[redacted]";

/** A request's headers as the log has them: the names of all, the values of harmless ones. */
export function loggedRequestHeaders(
  headers: readonly (readonly [name: string, value: string])[],
): Record<string, string> {
  const logged: Record<string, string> = {};
  // Most are small letters already.
  for (const [name, value] of headers) {
    const isShown = REQUEST_HEADERS.has(name) || REQUEST_HEADERS.has(name.toLowerCase());
    logged[name] = isShown ? value : REDACTED;
  }
  return logged;
}

/** An answer's headers as the log has them. Their names are in small letters. */
export function loggedResponseHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const logged: Record<string, string> = {};
  for (const name in headers) {
    if (!RESPONSE_HEADERS.has(name)) logged[name] = REDACTED;
    else logged[name] = name === "location" ? withoutSecrets(headers[name]!) : headers[name]!;
  }
  return logged;
}

/** A URL without what it may carry of secrets: who logs in, and the values of its query. */
export function withoutSecrets(url: string): string {
  return url.replace(/^([^/?#]*\/\/)[^/?#]*@/, "$1").replace(/[?#].*$/s, `?${REDACTED}`);
}
