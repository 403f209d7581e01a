import fetch, { FetchError, type Response } from "node-fetch";
import { BlockedAddressError, guardedLookup } from "./address-connect.ts";
import type { AddressGuard } from "./address-guard.ts";
import { classifyFailure } from "./error-class.ts";
import { ProxyError, RequestAgent } from "./request-agent.ts";
import type { LookupAll } from "./shared-lookup.ts";
import type { TlsOptions } from "./tls-profiles.ts";
import { MAX_RESPONSE_BYTES, type TransportRequest, type TransportResult, type Trip } from "./transport.ts";

/** Through which proxy, and how. */
export interface ProxyHop {
  /** `http:`, `https:`, `socks4:`, `socks4a:`, `socks5:`, `socks5h:`, `socks:`, with or without credentials. */
  readonly url: string;
  /** An operator's proxy may be anywhere; the address of one that a webhook names is judged like every other. */
  readonly isOperators: boolean;
  readonly tls: TlsOptions;
}

/**
 * Requests through proxies, by node-fetch and proxy-agent. Names are looked up by the proxy, so the address guard
 * judges what is known here: literals, and names by the operator's lists. Each request has a connection of its own.
 */
export class ProxyTransport {
  readonly #guard: AddressGuard;
  readonly #lookup: LookupAll | undefined;

  constructor({ guard, lookup }: { readonly guard: AddressGuard; readonly lookup?: LookupAll | undefined }) {
    this.#guard = guard;
    this.#lookup = lookup;
  }

  /** Never rejects. A failure of class `proxy`: the same request may be sent another way. */
  async send(request: TransportRequest, hop: ProxyHop): Promise<TransportResult> {
    const startedAt = performance.now();
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), request.timeoutMs);
    let agent: RequestAgent | null = null;
    let firstByteMs: number | null = null;
    const tripSoFar = (): Trip | undefined => {
      if (agent === null) return undefined;
      const { connectMs, tlsMs, remoteAddress } = agent.opening;
      return { dnsMs: null, connectMs, tlsMs, firstByteMs, remoteAddress };
    };
    const fail = (error: unknown): TransportResult => {
      const durationMs = performance.now() - startedAt;
      const late = Object.assign(new Error(`no complete answer within ${request.timeoutMs} ms`), { code: "DEADLINE" });
      const cause = deadline.signal.aborted ? late : (agent?.failure ?? plainCause(error));
      const { errorClass, message } = classifyFailure(cause);
      const isProxys = errorClass === "proxy" || (agent?.isThrough === false && !OUR_OWN_CLASSES.has(errorClass));
      const trip = tripSoFar();
      if (!isProxys) return { kind: "failure", errorClass, message, durationMs, trip };
      return {
        kind: "failure",
        errorClass: "proxy",
        message: `proxy ${displayProxy(hop.url)}: ${message}`,
        durationMs,
        trip,
      };
    };
    try {
      const url = new URL(request.url);
      const proxy = parseProxy(hop.url);
      const refusal =
        this.#guard.hostRefusal(url.hostname, portOf(url), true) ??
        (hop.isOperators ? null : this.#guard.hostRefusal(proxy.hostname, portOf(proxy)));
      if (refusal !== null) return fail(new BlockedAddressError(refusal));
      const { timeoutMs } = request;
      const lookup = guardedLookup({
        guard: hop.isOperators ? null : this.#guard,
        port: portOf(proxy),
        lookup: this.#lookup,
        patienceMs: timeoutMs,
      });
      agent = new RequestAgent({ target: url, proxy, lookup, tls: hop.tls, timeoutMs, signal: deadline.signal });
      const headers = request.headers.filter(([name]) => name.toLowerCase() !== "accept-encoding");
      const response = await fetch(request.url, {
        method: request.method,
        headers: [...headers.map(([name, value]) => [name, value]), ["accept-encoding", "identity"]],
        body: request.body,
        agent,
        redirect: "manual",
        compress: false,
        signal: deadline.signal,
      });
      firstByteMs = performance.now() - startedAt;
      if (response.status === 407) throw new ProxyError("it wants other credentials (HTTP 407)");
      const body = await readStart(response);
      const durationMs = performance.now() - startedAt;
      return {
        kind: "response",
        statusCode: response.status,
        headers: headersOf(response),
        body,
        durationMs,
        trip: tripSoFar(),
      };
    } catch (error) {
      return fail(error);
    } finally {
      clearTimeout(timer);
      // Whatever is still open: the rest of the answer, a connection that is being made.
      deadline.abort();
      agent?.destroy();
    }
  }
}

/** Failures that say nothing of the proxy. */
const OUR_OWN_CLASSES: ReadonlySet<string> = new Set(["blocked_address", "invalid_request", "timeout"]);

/** node-fetch wraps what happened into a text with the URL. */
function plainCause(error: unknown): unknown {
  if (!(error instanceof FetchError)) return error;
  const message = error.message.replace(/^request to .*? failed, reason: /s, "");
  return Object.assign(new Error(message), { code: error.code });
}

async function readStart({ body }: Response): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body ?? []) {
    const buffer = Buffer.from(chunk as Buffer);
    chunks.push(buffer);
    bytes += buffer.length;
    if (bytes >= MAX_RESPONSE_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_RESPONSE_BYTES).toString("utf8");
}

function headersOf(response: Response): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of response.headers) if (name !== "set-cookie") headers[name] = value;
  return headers;
}

/** @throws ProxyError; the text is not repeated, since it may hold a password */
function parseProxy(text: string): URL {
  if (!URL.canParse(text)) throw new ProxyError("its URL cannot be read");
  const proxy = new URL(text);
  proxy.protocol = FAR_LOOKUP.get(proxy.protocol) ?? proxy.protocol;
  return proxy;
}

/**
 * In the former forms the receiver's name would be looked up here, unjudged. So the only name that is looked up here is the
 * proxy's own.
 */
const FAR_LOOKUP: ReadonlyMap<string, string> = new Map([
  ["socks4:", "socks4a:"],
  ["socks5:", "socks5h:"],
]);

function portOf({ port, protocol }: URL): number {
  if (port === "" && protocol.startsWith("socks")) return 1080;
  return Number(port) || (protocol === "https:" ? 443 : 80);
}

/** Without its credentials. */
function displayProxy(url: string): string {
  return url.replace(/\/\/.*@/, "//").replace(/\/$/, "");
}
