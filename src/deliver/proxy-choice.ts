import type { PacProxyAgent } from "pac-proxy-agent";
import type { Route } from "../match/webhook.ts";
import { environmentProxy, namesProxy, type Environment } from "./environment-proxy.ts";

/** How a request may leave: straight, or through the proxy with this URL. */
export type Hop =
  | { readonly kind: "direct" }
  | { readonly kind: "proxy"; readonly url: string; readonly isOperators: boolean };

const DIRECT: Hop = { kind: "direct" };
/** A PAC file is loaded again after so long. */
const PAC_FOR_MS = 60_000;

/**
 * Chooses how requests leave: by the webhook's own `proxy`, else by the environment of the bridge (`HTTP_PROXY`,
 * `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), where a PAC file may be named, too (`pac+http://…`, `pac+file://…`).
 */
export class ProxyChoice {
  readonly #env: Environment;
  readonly #hasEnvironment: boolean;
  readonly #pacFiles = new Map<string, PacFile>();

  constructor(env: Environment = process.env) {
    this.#env = { ...env };
    this.#hasEnvironment = namesProxy(env);
  }

  /** Whether a request of this webhook leaves straight, without a closer look. */
  isPlain({ proxy }: Route): boolean {
    return proxy === "direct" || (proxy === null && !this.#hasEnvironment);
  }

  /** The ways to try, the next one where the proxy before it does not work. */
  async hops(url: URL, { proxy }: Route): Promise<readonly Hop[]> {
    if (proxy === "direct") return [DIRECT];
    if (proxy !== null) return [{ kind: "proxy", url: proxy, isOperators: false }];
    const chosen = environmentProxy(url, this.#env);
    if (chosen === null) return [DIRECT];
    if (!chosen.startsWith("pac+")) return [{ kind: "proxy", url: chosen, isOperators: true }];
    let file = this.#pacFiles.get(chosen);
    if (file === undefined) this.#pacFiles.set(chosen, (file = new PacFile(chosen)));
    return file.hops(url);
  }
}

type Resolver = ReturnType<PacProxyAgent<string>["getResolver"]>;

class PacFile {
  readonly #url: string;
  #agent: PacProxyAgent<string> | null = null;
  #resolver: Resolver | null = null;
  #loadedAtMs = 0;

  constructor(url: string) {
    this.#url = url;
  }

  async hops(url: URL): Promise<readonly Hop[]> {
    if (this.#resolver === null || performance.now() - this.#loadedAtMs > PAC_FOR_MS) {
      this.#loadedAtMs = performance.now();
      this.#resolver = this.#load();
      // What could not be loaded is asked for again by the next request.
      this.#resolver.catch(() => (this.#resolver = null));
    }
    const resolve = await this.#resolver;
    const answer = (await resolve(url)) || "DIRECT";
    return answer
      .split(";")
      .map((entry) => entry.trim())
      .filter((entry) => entry !== "")
      .map(toHop);
  }

  /** The interpreter is loaded where it is needed. */
  async #load(): Resolver {
    if (this.#agent === null) {
      const { PacProxyAgent } = await import("pac-proxy-agent");
      this.#agent = new PacProxyAgent(this.#url);
    }
    return this.#agent.getResolver();
  }
}

/** One entry of a PAC file's answer. https://developer.mozilla.org/docs/Web/HTTP/Proxy_servers_and_tunneling/Proxy_Auto-Configuration_PAC_file */
function toHop(entry: string): Hop {
  const [type = "", host = ""] = entry.split(/\s+/);
  const scheme = SCHEMES.get(type.toUpperCase());
  if (scheme === undefined) throw new Error(`the PAC file answers "${entry}"`);
  return scheme === null ? DIRECT : { kind: "proxy", url: `${scheme}://${host}`, isOperators: true };
}

const SCHEMES: ReadonlyMap<string, string | null> = new Map([
  ["DIRECT", null],
  ["PROXY", "http"],
  ["HTTP", "http"],
  ["HTTPS", "https"],
  ["SOCKS", "socks5h"],
  ["SOCKS5", "socks5h"],
  ["SOCKS4", "socks4a"],
]);
