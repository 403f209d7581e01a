import { isIPv4, isIPv6 } from "node:net";

/** An IP address as a number. An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) is the IPv4 address. */
export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A block of addresses. */
export interface AddressRange {
  readonly first: Address;
  /** How many leading bits are fixed. */
  readonly prefix: number;
}

const BITS = { 4: 32, 6: 128 } as const;
/** `::ffff:0:0/96`, shifted. */
const MAPPED = 0xffffn;

/** Reads a literal, with or without brackets; a zone (`%eth0`) is left out. Null where it is a name. */
export function parseAddress(text: string): Address | null {
  const literal = text.replace(/^\[(.*)\]$/, "$1").replace(/%.*$/, "");
  if (isIPv4(literal)) return { family: 4, value: v4Value(literal) };
  if (!isIPv6(literal)) return null;
  const value = v6Value(literal);
  return value >> 32n === MAPPED ? { family: 4, value: value & 0xffffffffn } : { family: 6, value };
}

/** Reads `10.0.0.0/8`, `fd00::/8` or a single address. Null where it is none, or has bits set behind the prefix. */
export function parseRange(text: string): AddressRange | null {
  const [literal = "", length, ...rest] = text.split("/");
  const first = parseAddress(literal);
  if (first === null || literal.includes("%") || rest.length > 0) return null;
  if (length !== undefined && !/^\d{1,3}$/.test(length)) return null;
  // A mapped block counts its 96 leading bits as well.
  const shift = first.family === 4 && isIPv6(literal) ? 96 : 0;
  const prefix = length === undefined ? BITS[first.family] : Number(length) - shift;
  if (prefix < 0 || prefix > BITS[first.family]) return null;
  const free = BigInt(BITS[first.family] - prefix);
  return (first.value >> free) << free === first.value ? { first, prefix } : null;
}

/** Whether an address is in a block. */
export function isInRange({ family, value }: Address, { first, prefix }: AddressRange): boolean {
  if (family !== first.family) return false;
  const free = BigInt(BITS[family] - prefix);
  return value >> free === first.value >> free;
}

/** The IPv4 address in the 32 bits that end `fromRight` bits before the end of an IPv6 address. */
export function v4Within({ value }: Address, fromRight: number): Address {
  return { family: 4, value: (value >> BigInt(fromRight)) & 0xffffffffn };
}

/** `a.b.c.d`; an IPv6 address as eight groups without a shortening, for what only has to be recognised. */
export function formatAddress({ family, value }: Address): string {
  const groups: string[] = [];
  const [size, count, base] = family === 4 ? [8n, 4, 10] : [16n, 8, 16];
  for (let at = count - 1; at >= 0; at--)
    groups.push(((value >> (size * BigInt(at))) & ((1n << size) - 1n)).toString(base));
  return groups.join(family === 4 ? "." : ":");
}

function v4Value(literal: string): bigint {
  return literal.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

/** The literal is known to be valid. */
function v6Value(literal: string): bigint {
  const [head = "", tail] = literal.split("::");
  const before = groupsOf(head);
  const after = tail === undefined ? [] : groupsOf(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0n);
  return [...before, ...zeros, ...after].reduce((value, group) => (value << 16n) | group, 0n);
}

function groupsOf(text: string): bigint[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [BigInt(`0x${group}`)];
    const value = v4Value(group);
    return [value >> 16n, value & 0xffffn];
  });
}
