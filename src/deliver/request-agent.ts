import type { ClientRequest } from "node:http";
import type { LookupFunction } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { ProxyAgent } from "proxy-agent";
import { BlockedAddressError } from "./address-connect.ts";
import { MAX_INFORMATIONAL, NoHttpError } from "./error-class.ts";
import { Opening, peerOf } from "./opening.ts";
import type { TlsOptions } from "./tls-profiles.ts";

/** The proxy did not do its part: nothing has reached the receiver, or nobody can tell. */
export class ProxyError extends Error {
  readonly code: string = "PROXY_FAILED";
}

/** One request's agent, which knows whether the proxy has let it through, and whether its address was refused. */
export class RequestAgent extends ProxyAgent {
  isThrough = false;
  /** What went wrong first, before it was wrapped. */
  failure: Error | null = null;
  /** All until the way to the receiver stands is its `connectMs`: what the proxy does of it is not told apart. */
  readonly opening: Opening = new Opening();

  readonly #target: string;
  /** Whose certificate the receiver has to show; null: it needs none. */
  readonly #secureHost: string | null;
  /** The proxy is told the whole URL, in the request's first line, instead of making a tunnel. */
  readonly #namesTarget: boolean;

  constructor(options: {
    readonly target: URL;
    readonly proxy: URL;
    readonly lookup: LookupFunction;
    readonly tls: TlsOptions;
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
  }) {
    // What is between may wrap the error beyond recognition.
    const lookup: LookupFunction = (host, how, callback) =>
      options.lookup(host, how, (error, ...found) => {
        if (error instanceof BlockedAddressError) this.failure = error;
        callback(error, ...found);
      });
    super({
      ...options.tls,
      lookup,
      socketOptions: { lookup },
      timeout: options.timeoutMs,
      signal: options.signal,
      getProxyForUrl: () => options.proxy.href,
    });
    const { origin, pathname, search, protocol, hostname } = options.target;
    this.#secureHost = protocol === "https:" ? hostname.replace(/^\[(.*)\]$/, "$1") : null;
    this.#target = origin + pathname + search;
    this.#namesTarget = protocol === "http:" && /^https?:$/.test(options.proxy.protocol);
  }

  override async connect(
    req: ClientRequest,
    options: Parameters<ProxyAgent["connect"]>[1],
  ): ReturnType<ProxyAgent["connect"]> {
    this.#watch(req);
    // Else an address would be verified as `localhost`, since it is no name to send along.
    if (this.#secureHost !== null) {
      const host = this.#secureHost;
      Object.assign(options, {
        checkServerIdentity: (_: string, cert: PeerCertificate) => checkServerIdentity(host, cert),
      });
    }
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
    let informational = 0;
    req.on("error", (error: Error) => {
      this.failure ??= error;
    });
    req.on("information", () => {
      if (++informational <= MAX_INFORMATIONAL) return;
      req.destroy(new NoHttpError(`more than ${MAX_INFORMATIONAL} answers of 1xx before the answer`));
    });
    req.once("upgrade", (_, socket) => {
      socket.destroy();
      req.emit("error", new NoHttpError("it switched to another protocol (HTTP 101)"));
    });
    req.once("socket", (socket) => {
      const connectedAt = performance.now();
      this.opening.connectMs = connectedAt - startedAt;
      this.opening.remoteAddress = peerOf(socket);
      // To a proxy that speaks TLS itself it belongs to the connection.
      if (this.#secureHost === null) return;
      socket.once("secureConnect", () => {
        this.opening.tlsMs = performance.now() - connectedAt;
      });
    });
  }
}
