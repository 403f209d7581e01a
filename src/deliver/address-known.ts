import { isInRange, parseRange, v4Within, type Address, type AddressRange } from "./address-range.ts";

/**
 * What an address is for. `never`: nobody's webhook is there, and who reaches it gets what he must not (a cloud's
 * metadata, every machine of the network). `internal`: a network of one's own. `public`: the internet.
 */
export type AddressKind = "never" | "internal" | "public";

export interface KnownRange {
  readonly cidr: string;
  readonly kind: AddressKind;
  /** Completes the sentence "it is …". */
  readonly what: string;
}

/**
 * IANA's special-purpose registries, and the addresses at which clouds answer with credentials. The longest
 * prefix counts. https://www.iana.org/assignments/iana-ipv4-special-registry, …-ipv6-special-registry
 */
export const KNOWN_RANGES: readonly KnownRange[] = [
  { cidr: "0.0.0.0/0", kind: "public", what: "public" },
  { cidr: "0.0.0.0/8", kind: "never", what: "this machine without an address" },
  { cidr: "10.0.0.0/8", kind: "internal", what: "private" },
  { cidr: "100.64.0.0/10", kind: "internal", what: "shared address space" },
  { cidr: "100.100.100.200/32", kind: "never", what: "cloud metadata (Alibaba)" },
  { cidr: "127.0.0.0/8", kind: "internal", what: "loopback" },
  { cidr: "168.63.129.16/32", kind: "never", what: "cloud metadata (Azure)" },
  { cidr: "169.254.0.0/16", kind: "never", what: "link-local, where clouds keep their metadata" },
  { cidr: "172.16.0.0/12", kind: "internal", what: "private" },
  { cidr: "192.0.0.0/24", kind: "internal", what: "for protocols" },
  { cidr: "192.0.0.192/32", kind: "never", what: "cloud metadata (Oracle)" },
  { cidr: "192.0.2.0/24", kind: "internal", what: "for documentation" },
  { cidr: "192.88.99.0/24", kind: "internal", what: "the former 6to4 relay" },
  { cidr: "192.168.0.0/16", kind: "internal", what: "private" },
  { cidr: "198.18.0.0/15", kind: "internal", what: "for benchmarks" },
  { cidr: "198.51.100.0/24", kind: "internal", what: "for documentation" },
  { cidr: "203.0.113.0/24", kind: "internal", what: "for documentation" },
  { cidr: "224.0.0.0/4", kind: "never", what: "multicast" },
  { cidr: "240.0.0.0/4", kind: "never", what: "reserved" },
  { cidr: "255.255.255.255/32", kind: "never", what: "broadcast" },
  { cidr: "::/0", kind: "internal", what: "outside of the public addresses" },
  { cidr: "2000::/3", kind: "public", what: "public" },
  { cidr: "::/128", kind: "never", what: "this machine without an address" },
  { cidr: "::1/128", kind: "internal", what: "loopback" },
  { cidr: "::/96", kind: "internal", what: "an IPv4-compatible form" },
  { cidr: "::ffff:0:0:0/96", kind: "internal", what: "an IPv4-translated form" },
  { cidr: "64:ff9b::/96", kind: "public", what: "NAT64" },
  { cidr: "64:ff9b:1::/48", kind: "internal", what: "local NAT64" },
  { cidr: "100::/64", kind: "internal", what: "discard-only" },
  { cidr: "2001::/23", kind: "internal", what: "for protocols" },
  { cidr: "2001::/32", kind: "internal", what: "Teredo" },
  { cidr: "2001:db8::/32", kind: "internal", what: "for documentation" },
  { cidr: "2002::/16", kind: "internal", what: "6to4" },
  { cidr: "3fff::/20", kind: "internal", what: "for documentation" },
  { cidr: "5f00::/16", kind: "internal", what: "for segment routing" },
  { cidr: "fc00::/7", kind: "internal", what: "private" },
  { cidr: "fd00:42::42/128", kind: "never", what: "cloud metadata (Scaleway)" },
  { cidr: "fd00:ec2::/32", kind: "never", what: "cloud metadata (AWS)" },
  { cidr: "fd20:ce::254/128", kind: "never", what: "cloud metadata (Google)" },
  { cidr: "fe80::/10", kind: "never", what: "link-local" },
  { cidr: "fec0::/10", kind: "internal", what: "site-local" },
  { cidr: "ff00::/8", kind: "never", what: "multicast" },
];

/** By falling length of the prefix: the first that fits is the closest. */
const CLOSEST_FIRST: readonly (KnownRange & { readonly range: AddressRange })[] = KNOWN_RANGES.map((known) => ({
  ...known,
  range: rangeOf(known.cidr),
})).toSorted((a, b) => b.range.prefix - a.range.prefix);

/** The closest range that an address belongs to. */
export function knownRange(address: Address): KnownRange {
  return CLOSEST_FIRST.find(({ range }) => isInRange(address, range))!;
}

/** The forms of IPv6 that lead to an IPv4 address: how far its 32 bits are from the right. */
const CARRIERS: readonly { readonly range: AddressRange; readonly fromRight: number }[] = [
  { range: rangeOf("::/96"), fromRight: 0 },
  { range: rangeOf("::ffff:0:0:0/96"), fromRight: 0 },
  { range: rangeOf("64:ff9b::/96"), fromRight: 0 },
  { range: rangeOf("64:ff9b:1::/48"), fromRight: 0 },
  { range: rangeOf("2002::/16"), fromRight: 80 },
];
const TEREDO = rangeOf("2001::/32");
/** The third quarter of an ISATAP address, RFC 5214. */
const ISATAP: readonly bigint[] = [0x00005efen, 0x02005efen];

/** The IPv4 addresses that an IPv6 address may lead to through a translator or a tunnel. */
export function carriedAddresses(address: Address): readonly Address[] {
  // `::` and `::1` are themselves.
  if (address.family === 4 || address.value <= 1n) return [];
  const carrier = CARRIERS.find(({ range }) => isInRange(address, range));
  if (carrier !== undefined) return [v4Within(address, carrier.fromRight)];
  if (isInRange(address, TEREDO)) {
    // The server as it is, the client with all its bits turned.
    const client = v4Within(address, 0);
    return [v4Within(address, 64), { family: 4, value: client.value ^ 0xffffffffn }];
  }
  return ISATAP.includes(v4Within(address, 32).value) ? [v4Within(address, 0)] : [];
}

function rangeOf(cidr: string): AddressRange {
  const range = parseRange(cidr);
  if (range === null) throw new Error(`${cidr} is no range`);
  return range;
}
