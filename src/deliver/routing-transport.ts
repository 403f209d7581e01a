import { deferred } from "../deferred.ts";
import { classifyFailure } from "./error-class.ts";
import type { AddressGuard } from "./address-guard.ts";
import type { LookupAll } from "./shared-lookup.ts";
import { ProxyChoice, type Hop } from "./proxy-choice.ts";
import type { ProxyTransport } from "./proxy-transport.ts";
import { TlsProfiles, type TlsMaterial } from "./tls-profiles.ts";
import type { Transport, TransportRequest, TransportResult } from "./transport.ts";
import { UndiciTransport } from "./undici-transport.ts";

export interface RoutingOptions {
  readonly guard: AddressGuard;
  readonly lookup?: LookupAll;
  /** The operator's folder of certificates; empty: none. */
  readonly tlsDirectory: string;
  readonly proxies?: ProxyChoice;
}

/** Sends each request the way that its webhook and the bridge's environment say: straight, or through a proxy. */
export class RoutingTransport implements Transport {
  readonly #options: RoutingOptions;
  /** What nearly all requests take, so without any detour. */
  readonly #plain: UndiciTransport;
  readonly #profiles: TlsProfiles;
  readonly #choice: ProxyChoice;
  #proxied: Promise<ProxyTransport> | null = null;
  /** By what connections are made with, without the files' content: changed files replace what was made with the former. */
  readonly #direct = new Map<string, { readonly id: string; readonly transport: UndiciTransport }>();

  constructor(options: RoutingOptions) {
    this.#options = options;
    this.#plain = new UndiciTransport({ guard: options.guard, lookup: options.lookup });
    this.#profiles = new TlsProfiles(options.tlsDirectory);
    this.#choice = options.proxies ?? new ProxyChoice();
  }

  send(request: TransportRequest): Promise<TransportResult> {
    const { route } = request;
    const isPlain = route.tlsProfile === null && route.tlsMinVersion === "TLSv1.2" && this.#choice.isPlain(route);
    return isPlain ? this.#plain.send(request) : this.#sendSpecial(request);
  }

  async #sendSpecial(request: TransportRequest): Promise<TransportResult> {
    const startedAt = performance.now();
    try {
      const tls = this.#profiles.of(request.route);
      if (this.#choice.isPlain(request.route)) return await this.#directFor(request, tls).send(request);
      return await this.#through(await this.#hops(request), request, tls);
    } catch (error) {
      return { kind: "failure", ...classifyFailure(error), durationMs: performance.now() - startedAt };
    }
  }

  async close(): Promise<void> {
    const special = [...this.#direct.values()].map(({ transport }) => transport);
    await Promise.all([this.#plain, ...special].map((transport) => transport.close()));
  }

  /** A PAC file may have to be loaded, and may not come. */
  async #hops({ url, route, timeoutMs }: TransportRequest): Promise<readonly Hop[]> {
    const target = new URL(url);
    const { promise: late, reject } = deferred<never>();
    const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    try {
      return await Promise.race([this.#choice.hops(target, route), late]);
    } catch (error) {
      const { message } = classifyFailure(error);
      throw Object.assign(new Error(`the PAC file of the bridge's environment: ${message}`), { code: "PROXY_FAILED" });
    } finally {
      clearTimeout(timer);
    }
  }

  /** The first way that works, all within the request's one deadline. */
  async #through(hops: readonly Hop[], request: TransportRequest, tls: TlsMaterial): Promise<TransportResult> {
    const startedAt = performance.now();
    let result: TransportResult | null = null;
    for (const hop of hops) {
      const leftMs = request.timeoutMs - (performance.now() - startedAt);
      if (result !== null && leftMs <= 0) break;
      const now = { ...request, timeoutMs: Math.max(1, Math.ceil(leftMs)) };
      result =
        hop.kind === "direct"
          ? await this.#directFor(now, tls).send(now)
          : await (await this.#proxyTransport()).send(now, { ...hop, tls: tls.options });
      if (result.kind === "response" || result.errorClass !== "proxy") break;
    }
    if (result === null) throw new Error("the PAC file names no way");
    return { ...result, durationMs: performance.now() - startedAt };
  }

  /** Loaded where it is needed: most bridges have no proxy. */
  #proxyTransport(): Promise<ProxyTransport> {
    this.#proxied ??= import("./proxy-transport.ts").then((module) => new module.ProxyTransport(this.#options));
    return this.#proxied;
  }

  #directFor({ route }: TransportRequest, { id, options }: TlsMaterial): UndiciTransport {
    const key = `${route.tlsMinVersion} ${route.tlsProfile ?? ""}`;
    const known = this.#direct.get(key);
    if (known?.id === id) return known.transport;
    // What is under way with the former files ends by itself.
    void known?.transport.retire();
    const transport = new UndiciTransport({ guard: this.#options.guard, lookup: this.#options.lookup, tls: options });
    this.#direct.set(key, { id, transport });
    return transport;
  }
}
