import { carriedAddresses, knownRange } from "./address-known.ts";
import { formatAddress, parseAddress, type Address } from "./address-range.ts";
import { parseAddressRules, ruleFits, type AddressRule } from "./address-rules.ts";

/** `internal`: the internet and one's own network. `public`: the internet. `allowlist`: what the operator lists. */
export type AddressMode = "internal" | "public" | "allowlist";

/** Ports of services that take orders from whoever reaches them, if only by mistake; not to be had in mode `public`. */
const SERVICE_PORTS: ReadonlySet<number> = new Set([
  22, 23, 25, 53, 110, 111, 135, 139, 143, 389, 445, 465, 587, 636, 993, 995, 1433, 1521, 2049, 2181, 2375, 2376, 2379,
  3306, 3389, 5432, 5672, 5900, 5984, 6379, 6443, 6432, 8500, 9042, 9092, 9200, 9300, 10250, 11211, 27017,
]);

/** An address and port that belong to Walhook itself. */
export interface OwnPlaces {
  /** What is there ("the source database"), null where it is none of ours. */
  find(address: Address | null, name: string | null, port: number): string | null;
}

export const NO_OWN_PLACES: OwnPlaces = { find: () => null };

export interface AddressPolicy {
  readonly mode: AddressMode;
  /** Lists as `parseAddressRules` reads them. */
  readonly allow: string;
  readonly deny: string;
  readonly own: OwnPlaces;
}

/** Where a request wants to go. */
export interface Destination {
  /** An IP address as text, as the system says it. */
  readonly address: string;
  readonly port: number;
  /** The host of the URL that led there. */
  readonly host: string;
}

/**
 * Says which addresses a webhook may reach. What is never allowed comes first, then what the operator denies, then what
 * the operator allows, then the mode. Pure: it looks nothing up.
 */
export class AddressGuard {
  readonly #mode: AddressMode;
  readonly #allow: readonly AddressRule[];
  readonly #deny: readonly AddressRule[];
  readonly #own: OwnPlaces;

  /** @throws WalhookError `bad_option` for an entry that is none */
  constructor({ mode, allow, deny, own }: AddressPolicy) {
    this.#mode = mode;
    this.#allow = parseAddressRules(allow, `--allow-addresses (${ALLOW_SETTING})`);
    this.#deny = parseAddressRules(deny, `--deny-addresses (${DENY_SETTING})`);
    this.#own = own;
  }

  /** Why nothing may be sent to an address: the rule and the setting; null where it may. */
  refusal({ address: text, port, host }: Destination): string | null {
    const name = nameOf(host);
    const place = placeText(text, port, name);
    const address = parseAddress(text);
    if (address === null) return `${place} is no address that can be judged`;
    const reached = [address, ...carriedAddresses(address)];
    for (const one of reached) {
      const known = knownRange(one);
      if (known.kind === "never") return `${describe(place, address, one)} is ${known.what} (${known.cidr}): ${NEVER}`;
      const own = this.#own.find(one, name, port);
      if (own !== null) return `${describe(place, address, one)} is ${own}: ${NEVER}`;
      const denied = this.#deny.find((rule) => ruleFits(rule, one, name, port));
      if (denied !== undefined)
        return `${describe(place, address, one)} is denied by the entry "${denied.text}" of ${DENY_SETTING}`;
    }
    if (this.#allow.some((rule) => ruleFits(rule, address, name, port))) return null;
    const remedy = `the operator can allow it: ${ALLOW_SETTING}=${entryText(text, port)}`;
    if (this.#mode === "allowlist")
      return `${place} is not in the operator's list, and ${MODE_SETTING}=allowlist; ${remedy}`;
    if (this.#mode === "internal") return null;
    for (const one of reached) {
      const known = knownRange(one);
      if (known.kind === "public") continue;
      return `${describe(place, address, one)} is ${known.what} (${known.cidr}), and ${MODE_SETTING}=public; ${remedy}`;
    }
    if (!SERVICE_PORTS.has(port)) return null;
    return `port ${port} of ${place} belongs to a service that is no receiver, and ${MODE_SETTING}=public; ${remedy}`;
  }

  /**
   * Judges the host of a URL before it is looked up, and for good where somebody else will look it up (a proxy): an
   * address as `refusal` does, a name by the lists and by what is ours.
   *
   * @param isFinal nobody here will see the address: in mode `allowlist` the name itself must be listed
   */
  hostRefusal(host: string, port: number, isFinal = false): string | null {
    if (parseAddress(host) !== null) return this.refusal({ address: host.replace(/^\[(.*)\]$/, "$1"), port, host });
    const name = nameOf(host);
    const own = this.#own.find(null, name, port);
    if (own !== null) return `${host}:${port} is ${own}: ${NEVER}`;
    const denied = this.#deny.find((rule) => ruleFits(rule, null, name, port));
    if (denied !== undefined) return `${host}:${port} is denied by the entry "${denied.text}" of ${DENY_SETTING}`;
    if (!isFinal || this.#mode !== "allowlist" || this.#allow.some((rule) => ruleFits(rule, null, name, port)))
      return null;
    return `${host}:${port} is not in the operator's list, and ${MODE_SETTING}=allowlist; the operator can allow it: ${ALLOW_SETTING}=${host}:${port}`;
  }
}

const MODE_SETTING = "WALHOOK_ADDRESS_MODE";
const ALLOW_SETTING = "WALHOOK_ALLOW_ADDRESSES";
const DENY_SETTING = "WALHOOK_DENY_ADDRESSES";
const NEVER = "never sent to, and no setting allows it";

/** A host as rules name it: small letters, no dot at its end; null where it is an address. */
function nameOf(host: string): string | null {
  return parseAddress(host) === null ? host.toLowerCase().replace(/\.$/, "") : null;
}

function placeText(address: string, port: number, name: string | null): string {
  const place = entryText(address, port);
  return name === null ? place : `${place} (${name})`;
}

function entryText(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** A form that leads to another address is shown with it. */
function describe(place: string, written: Address, reached: Address): string {
  return reached === written ? place : `${place} leads to ${formatAddress(reached)}, which`;
}
