import type { Kept, Webhook } from "../match/webhook.ts";
import { isTemplated } from "../render/template.ts";
import { countedHost } from "./counted-host.ts";
import { ORIGIN_HEADER } from "./handshake.ts";
import type { Parcel } from "./parcel.ts";
import type { KeyRing } from "./key-ring.ts";
import { signatureHeaders } from "./sign.ts";
import type { Transport, TransportRequest, TransportResult } from "./transport.ts";
import { splitCredentials } from "./url-credentials.ts";

const USER_AGENT = "walhook";

/** An attempt that is over: what was sent and what came back. */
export interface Attempt {
  /** The `webhook-id` that was sent. */
  readonly id: string;
  readonly request: TransportRequest;
  /** Host and port for the figures. */
  readonly host: string;
  readonly result: TransportResult;
  /** Numbers of the secrets that signed it. */
  readonly keyIds: readonly string[];
  /** How much of bodies the log keeps. */
  readonly kept: Kept;
  /** Milliseconds since 1970. */
  readonly sentAtMs: number;
}

/** What an attempt is made with. */
export interface Means {
  readonly transport: Transport;
  readonly keys: Pick<KeyRing, "keysOf" | "idsOf">;
}

/**
 * Makes one attempt. Bytes, method and rendered values are the delivery's own; URL, static headers,
 * secrets and timeout are those of `webhook`, the configuration now in force, so that a mended URL drains the queue.
 * Never rejects.
 */
export async function attempt(parcel: Parcel, webhook: Webhook, { transport, keys }: Means): Promise<Attempt> {
  const sentAtMs = Date.now();
  const { kept } = webhook;
  try {
    const request = prepare(parcel, webhook, keys, sentAtMs);
    const host = countedHost(webhook, request.url, parcel.request.url);
    const keyIds = keys.idsOf(webhook, sentAtMs);
    return { id: parcel.id, request, host, result: await transport.send(request), keyIds, kept, sentAtMs };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const { method, body, url: frozenUrl } = parcel.request;
    const url = (frozenUrl ?? webhook.requestUrl).replace(/\/\/[^/?#]*@/, "//");
    return {
      id: parcel.id,
      request: {
        method,
        body,
        timeoutMs: webhook.timeoutMs,
        route: webhook.route,
        url,
        headers: [],
      },
      host: countedHost(webhook, url, frozenUrl),
      result: { kind: "failure", errorClass: "invalid_request", message, durationMs: 0 },
      keyIds: [],
      kept,
      sentAtMs,
    };
  }
}

/**
 * The request of an attempt, as it goes to the transport. Throws where the URL cannot be read.
 * @param sentAtMs when it leaves, in milliseconds since 1970: part of what is signed
 */
export function prepare(
  parcel: Parcel,
  webhook: Webhook,
  keys: Pick<KeyRing, "keysOf">,
  sentAtMs: number,
): TransportRequest {
  const { method, body, url: frozenUrl } = parcel.request;
  const { url, authorization } = splitCredentials(frozenUrl ?? webhook.requestUrl);
  const headers = headersOf(parcel, webhook, keys, sentAtMs);
  if (authorization !== null && !headers.some(([name]) => name.toLowerCase() === "authorization")) {
    headers.push(["authorization", authorization]);
  }
  return { method, body, timeoutMs: webhook.timeoutMs, route: webhook.route, url, headers };
}

/** Headers that say who signed what: no configured header replaces them. */
const OUR_OWN = new Set([
  "webhook-id",
  "webhook-timestamp",
  "webhook-signature",
  "x-frappe-webhook-signature",
  "content-length",
]);

function headersOf(
  { id, request: frozen }: Parcel,
  webhook: Webhook,
  keys: Pick<KeyRing, "keysOf">,
  sentAtMs: number,
): [string, string][] {
  const headers = signatureHeaders({
    keys: keys.keysOf(webhook, sentAtMs),
    formats: webhook.signatureFormats,
    id,
    timestampSeconds: Math.floor(sentAtMs / 1000),
    body: frozen.body,
  });
  if (webhook.handshakeOrigin !== null) headers.push([ORIGIN_HEADER, webhook.handshakeOrigin]);
  const signed = headers.length;
  headers.push(["content-type", frozen.contentType], ["user-agent", USER_AGENT]);
  if (webhook.headers.length === 0 && frozen.headers.length === 0) return headers;
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
