import { describe, expect, it, test } from "vitest";
import { AddressGuard, NO_OWN_PLACES, type AddressMode, type AddressPolicy } from "../../src/deliver/address-guard.ts";
import { INTERNAL_FORMS, NEVER_FORMS, PUBLIC_FORMS } from "../support/address-forms.ts";

const guardOf = (mode: AddressMode, over: Partial<AddressPolicy> = {}): AddressGuard =>
  new AddressGuard({ mode, allow: "", deny: "", own: NO_OWN_PLACES, ...over });
const internal = guardOf("internal");
const open = guardOf("public");

/** As a URL brings it to the guard: the host, canonical, without a lookup. */
const judge = (guard: AddressGuard, host: string, port = 443): string | null =>
  guard.hostRefusal(new URL(`http://${host}/`).hostname, port);

describe("an address, however it is written", () => {
  test.each(NEVER_FORMS)("%s is refused in every mode, also where all is allowed", (host) => {
    const everything = { allow: "0.0.0.0/0 ::/0" };
    for (const mode of ["internal", "public", "allowlist"] as const) {
      expect(judge(guardOf(mode), host)).toContain("no setting allows it");
      expect(judge(guardOf(mode, everything), host)).toContain("never sent to, and no setting allows it");
    }
  });
  test.each(INTERNAL_FORMS)("%s is one's own network: refused in `public` alone", (host) => {
    expect(judge(internal, host)).toBeNull();
    expect(judge(open, host)).toContain("WALHOOK_ADDRESS_MODE=public");
  });
  test.each(PUBLIC_FORMS)("%s is public", (host) => {
    expect(judge(internal, host)).toBeNull();
    expect(judge(open, host)).toBeNull();
    expect(judge(guardOf("allowlist"), host)).toContain("WALHOOK_ADDRESS_MODE=allowlist");
  });
  test.each(["fe80::1%eth0", "fe80::1%25", "::ffff:169.254.169.254%lo", "169.254.169.254"])(
    "%s is refused as the peer of a connection, too",
    (address) => {
      expect(internal.refusal({ address, port: 80, host: "hooks.example.com" })).toContain("no setting allows it");
    },
  );
  it("is refused where nobody can read it", () => {
    expect(internal.refusal({ address: "", port: 80, host: "a.example" })).toContain("no address that can be judged");
  });
});

describe("the operator's lists", () => {
  it("allow an internal address in `public`, at the port that is named", () => {
    const guard = guardOf("public", { allow: "10.1.0.0/16:8443" });
    expect(judge(guard, "10.1.2.3", 8443)).toBeNull();
    expect(judge(guard, "10.1.2.3", 443)).not.toBeNull();
    expect(judge(guard, "10.2.0.1", 8443)).not.toBeNull();
  });
  it("allow in `allowlist` what they name and nothing else", () => {
    const guard = guardOf("allowlist", { allow: "10.0.0.0/8 [2606:4700::/32]:443 203.0.113.7:8000-8010" });
    for (const [host, port] of [
      ["10.9.9.9", 1],
      ["[2606:4700::1]", 443],
      ["203.0.113.7", 8005],
    ] as const) {
      expect(judge(guard, host, port)).toBeNull();
    }
    for (const [host, port] of [
      ["11.0.0.1", 1],
      ["[2606:4700::1]", 444],
      ["203.0.113.7", 8011],
      ["8.8.8.8", 443],
    ] as const) {
      expect(judge(guard, host, port)).toContain("not in the operator's list");
    }
  });
  it("allow a name wherever it leads, but for what is never allowed", () => {
    const guard = guardOf("public", { allow: "hooks.internal:8080 *.corp.example" });
    const to = (address: string, host: string, port: number): string | null => guard.refusal({ address, port, host });
    expect(to("10.0.0.7", "hooks.internal", 8080)).toBeNull();
    expect(to("10.0.0.7", "HOOKS.internal.", 8080)).toBeNull();
    expect(to("10.0.0.7", "a.b.corp.example", 1234)).toBeNull();
    expect(to("10.0.0.7", "corp.example", 1234)).not.toBeNull();
    expect(to("10.0.0.7", "evilcorp.example", 1234)).not.toBeNull();
    expect(to("10.0.0.7", "hooks.internal", 8081)).not.toBeNull();
    expect(to("169.254.169.254", "hooks.internal", 8080)).toContain("no setting allows it");
  });
  it("deny before they allow", () => {
    const guard = guardOf("internal", { allow: "10.0.0.0/8", deny: "10.0.0.0/24 *.secret.example 8.8.8.8:53" });
    expect(judge(guard, "10.0.0.5")).toContain('the entry "10.0.0.0/24" of WALHOOK_DENY_ADDRESSES');
    expect(judge(guard, "[::ffff:10.0.0.5]")).toContain("WALHOOK_DENY_ADDRESSES");
    expect(judge(guard, "[64:ff9b::10.0.0.5]")).toContain("leads to 10.0.0.5");
    expect(judge(guard, "10.0.1.5")).toBeNull();
    expect(judge(guard, "A.Secret.Example.")).toContain("WALHOOK_DENY_ADDRESSES");
    expect(judge(guard, "8.8.8.8", 53)).not.toBeNull();
    expect(judge(guard, "8.8.8.8", 443)).toBeNull();
  });
  it("may stand in several lines", () => {
    expect(judge(guardOf("allowlist", { allow: "10.0.0.1,\n  10.0.0.2 ,10.0.0.3" }), "10.0.0.3")).toBeNull();
  });
  it.each([
    "10.0.0.0/33",
    "10.0.0.1/8",
    "10.0.0",
    "10.0.0.256",
    "10.0.0.0/8:0-70000",
    "10.0.0.0/8:9-1",
    "10.0.0.0/8:http",
    "fd00::/129",
    "[fd00::1",
    "fd00::/8:443",
    "http://a.example",
    "a.example/path",
    "*",
    "*.",
    "a..b",
    "-a.example",
    "2130706433",
    "fe80::1%eth0",
  ])("are refused whole for the entry %j", (entry) => {
    expect(() => guardOf("internal", { deny: `10.0.0.0/8, ${entry}` })).toThrow(
      `--deny-addresses (WALHOOK_DENY_ADDRESSES) has the entry "${entry}"`,
    );
  });
});

describe("a refusal", () => {
  it("names address, rule and the setting that allows it", () => {
    expect(open.refusal({ address: "10.0.0.5", port: 8080, host: "hooks.example.com" })).toBe(
      "10.0.0.5:8080 (hooks.example.com) is private (10.0.0.0/8), and WALHOOK_ADDRESS_MODE=public; " +
        "the operator can allow it: WALHOOK_ALLOW_ADDRESSES=10.0.0.5:8080",
    );
  });
  it("names an entry that the setting takes, for IPv6 too", () => {
    const text = open.refusal({ address: "fd12::1", port: 443, host: "a.example" }) ?? "";
    const entry = text.slice(text.lastIndexOf("=") + 1);
    expect(entry).toBe("[fd12::1]:443");
    expect(judge(guardOf("public", { allow: entry }), "[fd12::1]", 443)).toBeNull();
  });
  it("shows where a form leads", () => {
    expect(judge(internal, "[64:ff9b::a9fe:a9fe]", 80)).toBe(
      "[64:ff9b::a9fe:a9fe]:80 leads to 169.254.169.254, which is link-local, where clouds keep their metadata (169.254.0.0/16): " +
        "never sent to, and no setting allows it",
    );
  });
});

describe("mode `public`", () => {
  it.each([22, 25, 5432, 6379, 9200])("keeps off port %i, unless the operator lists it", (port) => {
    expect(judge(open, "8.8.8.8", port)).toContain(`port ${port}`);
    expect(judge(guardOf("public", { allow: `8.8.8.8:${port}` }), "8.8.8.8", port)).toBeNull();
    expect(judge(internal, "8.8.8.8", port)).toBeNull();
  });
});

describe("a name that somebody else looks up", () => {
  it("is judged by the lists alone", () => {
    expect(open.hostRefusal("a.example", 443, true)).toBeNull();
    expect(guardOf("allowlist", { allow: "10.0.0.0/8" }).hostRefusal("a.example", 443, true)).toContain(
      "a.example:443",
    );
    expect(guardOf("allowlist", { allow: "a.example:443" }).hostRefusal("A.example.", 443, true)).toBeNull();
  });
  it("does not have to be listed by itself where its address will be judged", () => {
    expect(guardOf("allowlist", { allow: "10.0.0.0/8" }).hostRefusal("a.example", 443)).toBeNull();
  });
});
