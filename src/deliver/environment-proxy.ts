import { isInRange, parseAddress, parseRange, type Address } from "./address-range.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const LOOPBACK = [parseRange("127.0.0.0/8")!, parseRange("::1")!];

/**
 * The proxy that the usual variables name for a URL, null where it goes straight: `https_proxy` or `http_proxy` by the
 * URL's scheme, else `all_proxy`; small letters win over capitals; a proxy without a scheme is an `http` one. What
 * `no_proxy` lists goes straight, and so does what is on this machine: a proxy would take it for its own.
 */
export function environmentProxy({ protocol, hostname, port }: URL, env: Environment): string | null {
  const proxy = read(env, `${protocol.slice(0, -1)}_proxy`) || read(env, "all_proxy");
  if (proxy === "" || isDirect(hostname, Number(port) || (protocol === "https:" ? 443 : 80), read(env, "no_proxy"))) {
    return null;
  }
  return /^pac\+|:\/\//.test(proxy) ? proxy : `http://${proxy}`;
}

/** Whether any proxy is named at all. */
export function namesProxy(env: Environment): boolean {
  return ["http_proxy", "https_proxy", "all_proxy"].some((name) => read(env, name) !== "");
}

function isDirect(hostname: string, port: number, list: string): boolean {
  const address = parseAddress(hostname);
  const name = hostname.toLowerCase().replace(/\.$/, "");
  if (address !== null && LOOPBACK.some((range) => isInRange(address, range))) return true;
  if (address === null && (name === "localhost" || name.endsWith(".localhost"))) return true;
  return list.split(/[\s,]+/).some((entry) => entry !== "" && fits(entry.toLowerCase(), address, name, port));
}

/** `*`, a name (with all below it), `.name` or `*.name` (what is below it), an address or a block, each but the first with or without a port. */
function fits(entry: string, address: Address | null, name: string, port: number): boolean {
  if (entry === "*") return true;
  const range = parseRange(entry.replace(/^\[(.*)\]$/, "$1"));
  if (range !== null) return address !== null && isInRange(address, range);
  const [, target = entry, only] = /^(.*):(\d+)$/.exec(entry) ?? [];
  if (only !== undefined) return Number(only) === port && fits(target, address, name, port);
  if (address !== null) return false;
  const below = target.replace(/^\*?\./, "");
  return name.endsWith(`.${below}`) || (below === target && name === target);
}

function read(env: Environment, name: string): string {
  return env[name] ?? env[name.toUpperCase()] ?? "";
}
