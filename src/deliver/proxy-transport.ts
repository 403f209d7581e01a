import type { ClientRequest } from "node:http";
import type { LookupFunction } from "node:net";
import fetch, { FetchError, type Response } from "node-fetch";
import { ProxyAgent } from "proxy-agent";
import { BlockedAddressError, guardedLookup, type LookupAll } from "./address-connect.ts";
import type { AddressGuard } from "./address-guard.ts";
import { classifyFailure } from "./error-class.ts";
import { Opening, peerOf } from "./opening.ts";
import type { TlsOptions } from "./tls-profiles.ts";
import { MAX_RESPONSE_BYTES, type TransportRequest, type TransportResult, type Trip } from "./transport.ts";

/** The proxy did not do its part: nothing has reached the receiver, or nobody can tell. */
class ProxyError extends Error {
  readonly code: string = "PROXY_FAILED";
}

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
      const cause = deadline.signal.aborted ? late : (agent?.refused ?? plainCause(error));
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
      const lookup = hop.isOperators ? undefined : guardedLookup(this.#guard, portOf(proxy), this.#lookup);
      const { timeoutMs } = request;
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

/** One request's agent, which knows whether the proxy has let it through, and whether its address was refused. */
class RequestAgent extends ProxyAgent {
  isThrough = false;
  refused: BlockedAddressError | null = null;
  /** All until the way to the receiver stands is its `connectMs`: what the proxy does of it is not told apart. */
  readonly opening: Opening = new Opening();

  readonly #target: string;
  /** The proxy is told the whole URL, in the request's first line, instead of making a tunnel. */
  readonly #namesTarget: boolean;

  constructor(options: {
    readonly target: URL;
    readonly proxy: URL;
    readonly lookup: LookupFunction | undefined;
    readonly tls: TlsOptions;
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
  }) {
    // What is between may wrap the error beyond recognition.
    const lookup: LookupFunction | undefined =
      options.lookup &&
      ((host, how, callback) =>
        options.lookup!(host, how, (error, ...found) => {
          if (error instanceof BlockedAddressError) this.refused = error;
          callback(error, ...found);
        }));
    super({
      ...options.tls,
      ...(lookup === undefined ? {} : { lookup, socketOptions: { lookup } }),
      timeout: options.timeoutMs,
      signal: options.signal,
      getProxyForUrl: () => options.proxy.href,
    });
    const { origin, pathname, search } = options.target;
    this.#target = origin + pathname + search;
    this.#namesTarget = options.target.protocol === "http:" && /^https?:$/.test(options.proxy.protocol);
  }

  override async connect(req: ClientRequest, options: Parameters<ProxyAgent["connect"]>[1]) {
    this.#watch(req);
    // Without this, a proxy's own answer to CONNECT would be taken for the receiver's: 204 for a success.
    req.once("proxyConnect", ({ statusCode }: { readonly statusCode?: number }) => {
      if (statusCode === undefined || statusCode === 200) this.isThrough = true;
      else req.destroy(new ProxyError(`it answered CONNECT with HTTP ${statusCode}`));
    });
    // SOCKS has only this one.
    req.once("proxy", () => {
      if (!req.destroyed) this.isThrough = true;
    });
    // Else it would be made of the Host header, and of a path such as `//169.254.169.254/`: not of what was judged.
    if (this.#namesTarget) req.path = this.#target;
    return super.connect(req, options);
  }

  #watch(req: ClientRequest): void {
    const startedAt = performance.now();
    req.once("socket", (socket) => {
      const connectedAt = performance.now();
      this.opening.connectMs = connectedAt - startedAt;
      this.opening.remoteAddress = peerOf(socket);
      // To a proxy that speaks TLS itself it belongs to the connection.
      if (!this.#target.startsWith("https:")) return;
      socket.once("secureConnect", () => {
        this.opening.tlsMs = performance.now() - connectedAt;
      });
    });
  }
}

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
