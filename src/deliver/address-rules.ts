import { EXIT_CODES, WalhookError } from "../errors.ts";
import { isInRange, parseAddress, parseRange, type Address, type AddressRange } from "./address-range.ts";

/** An entry of the operator's list: a block of addresses or a name, at some ports or all. */
export interface AddressRule {
  /** As it was written. */
  readonly text: string;
  readonly target: { readonly range: AddressRange } | { readonly name: string; readonly isSuffix: boolean };
  /** Both ends belong to it. */
  readonly ports: { readonly from: number; readonly to: number };
}

const ALL_PORTS = { from: 0, to: 65_535 } as const;
/** Labels of letters, digits and hyphens; at least one of the last label's is no digit, so that it is no address. */
const NAME = /^(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*(?=[a-z0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

/**
 * Reads a list such as `10.0.0.0/8:443, 192.168.1.7:8000-8999, [fd00::/8]:443, hooks.internal, *.example.com:443`.
 * A name stands for whatever it resolves to.
 *
 * @param setting the option's name, for the error
 * @throws WalhookError `bad_option`, naming the entry: a list that is understood in part would be no protection
 */
export function parseAddressRules(list: string, setting: string): readonly AddressRule[] {
  return list
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .map((text) => {
      const rule = parseRule(text.toLowerCase());
      if (rule !== null) return { ...rule, text };
      throw new WalhookError(`${setting} has the entry "${text}"`, {
        code: "bad_option",
        exitCode: EXIT_CODES.usage,
        hint: "An entry is an address, a block or a name, each with or without a port: 10.0.0.0/8, 10.1.2.3:443, [fd00::/8]:8000-8999, hooks.internal, *.example.com:443. A block has no bits set behind its prefix.",
      });
    });
}

function parseRule(text: string): Omit<AddressRule, "text"> | null {
  // An IPv6 address without brackets has colons of its own, and no port.
  const bare = parseRange(text);
  if (bare !== null) return { target: { range: bare }, ports: ALL_PORTS };
  const match = /^(?<host>\[[^\]]+\](?:\/\d+)?|[^:[\]]+)(?::(?<from>\d{1,5})(?:-(?<to>\d{1,5}))?)?$/.exec(text);
  if (match?.groups === undefined) return null;
  const { host = "", from, to } = match.groups;
  const ports = from === undefined ? ALL_PORTS : { from: Number(from), to: Number(to ?? from) };
  if (ports.to > 65_535 || ports.from > ports.to) return null;
  const range = parseRange(host.replace(/[[\]]/g, ""));
  if (range !== null) return { target: { range }, ports };
  const isSuffix = host.startsWith("*.");
  const name = (isSuffix ? host.slice(2) : host).replace(/\.$/, "");
  return NAME.test(name) && parseAddress(name) === null ? { target: { name, isSuffix }, ports } : null;
}

/** Whether a rule is about this address or about the name that led to it. */
export function ruleFits(
  { target, ports }: AddressRule,
  address: Address | null,
  name: string | null,
  port: number,
): boolean {
  if (port < ports.from || port > ports.to) return false;
  if ("range" in target) return address !== null && isInRange(address, target.range);
  if (name === null) return false;
  return target.isSuffix ? name.endsWith(`.${target.name}`) : name === target.name;
}
