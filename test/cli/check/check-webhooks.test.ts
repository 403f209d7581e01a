import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkWebhooks } from "../../../src/cli/check/check-webhooks.ts";
import type { Finding } from "../../../src/cli/check/finding.ts";
import type { WebhookFacts } from "../../../src/cli/check/webhook-facts.ts";
import type { LookupAll } from "../../../src/deliver/shared-lookup.ts";
import { AddressGuard, NO_OWN_PLACES, type AddressPolicy } from "../../../src/deliver/address-guard.ts";
import { KeyRing } from "../../../src/deliver/key-ring.ts";
import { TlsProfiles } from "../../../src/deliver/tls-profiles.ts";
import type { Route, Secret } from "../../../src/match/webhook.ts";
import { CERTIFICATES } from "../../support/certificates.ts";
import { PLAIN_ROUTE } from "../../support/route.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "walhook-check-"));
  await writeFile(join(folder, "partner.ca.pem"), CERTIFICATES.authority);
  await writeFile(join(folder, "half.cert.pem"), CERTIFICATES.client.cert);
  await writeFile(join(folder, "orders.key"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
  await writeFile(join(folder, "broken.key"), "whsec_!!! s3cret");
});
afterAll(() => rm(folder, { recursive: true }));

const NAMES: Readonly<Record<string, readonly string[]>> = {
  "hooks.example.com": ["203.0.114.7", "2606:4700::1"],
  "inside.example.com": ["10.0.0.9"],
  "mixed.example.com": ["203.0.114.7", "169.254.169.254"],
};
let asked: string[] = [];
const lookup: LookupAll = (host, _, callback) => {
  asked.push(host);
  const found = NAMES[host];
  if (found === undefined) return callback(new Error(`getaddrinfo ENOTFOUND ${host}`), []);
  callback(
    null,
    found.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
  );
};

interface Given extends Partial<Omit<WebhookFacts, "route">> {
  readonly route?: Partial<Route>;
  readonly policy?: Partial<AddressPolicy>;
  readonly env?: Readonly<Record<string, string>>;
}

async function judge({ route, policy, env = {}, ...facts }: Given): Promise<Finding> {
  asked = [];
  const webhook: WebhookFacts = {
    name: "w",
    requestUrl: "https://hooks.example.com/a?token=s3cret",
    isDynamicUrl: false,
    secrets: [],
    signatureFormats: ["standard"],
    missingConsent: null,
    ...facts,
    route: { ...PLAIN_ROUTE, ...route },
  };
  const world = {
    guard: new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES, ...policy }),
    profiles: new TlsProfiles(folder),
    keys: new KeyRing({ env, folder }),
    env,
    lookup,
  };
  const findings = await checkWebhooks([webhook], world);
  expect(JSON.stringify(findings)).not.toContain("s3cret");
  expect(findings).toHaveLength(1);
  return findings[0]!;
}
const secret = (text: string, kind: Secret["kind"] = "reference"): readonly Secret[] => [
  { id: "1", text, kind, expiresAtMs: null },
];

describe("a webhook's URL", () => {
  it("is fine where its name resolves to what may be reached", async () => {
    expect(await judge({})).toEqual({
      level: "ok",
      where: "webhook w",
      what: "hooks.example.com:443 resolves to 203.0.114.7, 2606:4700::1, and may be reached",
      remedy: null,
    });
    expect(await judge({ requestUrl: "http://[::1]:8080/" })).toMatchObject({
      level: "ok",
      what: "[::1]:8080 may be reached",
    });
  });
  it.each<[string, Given, RegExp]>([
    [
      "a literal of cloud metadata",
      { requestUrl: "http://0xa9fea9fe/" },
      /link-local.*169\.254\.0\.0\/16.*no setting allows/,
    ],
    ["a name of which one address is", { requestUrl: "https://mixed.example.com/" }, /169\.254\.169\.254:443 \(mixed/],
    [
      "an own network in mode public",
      { requestUrl: "http://inside.example.com/", policy: { mode: "public" } },
      /WALHOOK_ADDRESS_MODE=public.*WALHOOK_ALLOW_ADDRESSES=10\.0\.0\.9:80/,
    ],
    [
      "an entry of the operator's list",
      { policy: { deny: "203.0.114.0/24:443" } },
      /"203\.0\.114\.0\/24:443" of WALHOOK_DENY_ADDRESSES/,
    ],
    ["a list without it", { policy: { mode: "allowlist", allow: "10.0.0.0/8" } }, /WALHOOK_ADDRESS_MODE=allowlist/],
    [
      "the database's own place",
      { policy: { own: { find: (_, __, port) => (port === 443 ? "the source database" : null) } } },
      /the source database/,
    ],
    [
      "a literal behind a proxy",
      { requestUrl: "http://169.254.169.254/", route: { proxy: "http://10.0.0.9:3128" } },
      /link-local/,
    ],
    [
      "its proxy",
      { route: { proxy: "socks5://169.254.1.1" } },
      /its proxy socks5:\/\/169\.254\.1\.1: .*169\.254\.1\.1:1080/,
    ],
    [
      "the fixed host of a templated URL",
      { requestUrl: "http://169.254.169.254/{{doc.id}}", isDynamicUrl: true },
      /link-local/,
    ],
  ])("is a problem that names rule and setting where the guard refuses %s", async (_, given, words) => {
    const finding = await judge(given);
    expect(finding).toMatchObject({ level: "problem", where: "webhook w" });
    expect(finding.what).toMatch(/its requests are blocked: /);
    expect(finding.what).toMatch(words);
    expect(finding.remedy).toMatch(/^Change (request_url|the proxy), or the operator's setting/);
  });
  it("is a problem where its name, or its proxy's, does not resolve", async () => {
    expect(await judge({ requestUrl: "https://gone.example.com/" })).toMatchObject({
      level: "problem",
      what: "gone.example.com does not resolve here: getaddrinfo ENOTFOUND gone.example.com",
      remedy: expect.stringContaining("getent hosts gone.example.com"),
    });
    expect(await judge({ env: { https_proxy: "http://me:s3cret@proxy.example.com:3128" } })).toMatchObject({
      level: "problem",
      what: expect.stringContaining("its proxy http://proxy.example.com:3128: proxy.example.com does not resolve here"),
    });
  });
  it("is not looked up where a proxy does that, and a PAC file is not loaded", async () => {
    const through = await judge({ route: { proxy: "http://10.0.0.9:3128" } });
    expect(through).toMatchObject({
      level: "ok",
      what: expect.stringContaining("through the proxy http://10.0.0.9:3128"),
    });
    const byPac = await judge({ env: { all_proxy: "pac+http://pac.example.com/" } });
    expect(byPac).toMatchObject({ level: "ok", what: expect.stringContaining("PAC file") });
    expect(asked).toEqual([]);
    expect(await judge({ env: { https_proxy: "http://169.254.1.1:3128" } })).toMatchObject({ level: "ok" });
  });
  it.each(["https://{{doc.host}}/", "{{doc.url}}", "https://hooks.example.com{{doc.path}}"])(
    "is judged at each request where its host is rendered: %s",
    async (requestUrl) => {
      expect(await judge({ requestUrl, isDynamicUrl: true })).toMatchObject({
        level: "ok",
        what: expect.stringContaining("rendered for each event"),
      });
    },
  );
  it("shares one look-up with other webhooks", async () => {
    const facts: WebhookFacts = {
      name: "w",
      requestUrl: "https://hooks.example.com/",
      isDynamicUrl: false,
      route: PLAIN_ROUTE,
      secrets: [],
      signatureFormats: ["standard"],
      missingConsent: null,
    };
    asked = [];
    const guard = new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES });
    const keys = new KeyRing({ env: {}, folder });
    const world = { guard, profiles: new TlsProfiles(folder), keys, env: {}, lookup };
    expect(
      await checkWebhooks(
        Array.from({ length: 100 }, () => facts),
        world,
      ),
    ).toHaveLength(100);
    expect(asked).toEqual(["hooks.example.com"]);
  });
});

describe("what a webhook needs of the bridge's machine", () => {
  it("is a problem where its certificates cannot be read", async () => {
    expect(await judge({ route: { tlsProfile: "partner" } })).toMatchObject({ level: "ok" });
    for (const [tlsProfile, words] of [
      ["absent", "no absent.ca.pem or absent.cert.pem"],
      ["half", "half.cert.pem and half.key.pem belong together"],
    ] as const) {
      expect(await judge({ route: { tlsProfile } })).toMatchObject({
        level: "problem",
        what: expect.stringContaining(words),
        remedy: expect.stringContaining("WALHOOK_TLS_DIRECTORY"),
      });
    }
  });
  it("is a problem where a secret cannot be found or used", async () => {
    const env = { WALHOOK_SECRET_A: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" };
    expect(await judge({ secrets: secret("env:WALHOOK_SECRET_A"), env })).toMatchObject({ level: "ok" });
    expect(await judge({ secrets: secret("file:orders.key") })).toMatchObject({ level: "ok" });
    for (const [text, words] of [
      ["env:WALHOOK_SECRET_B", "env:WALHOOK_SECRET_B is not set"],
      ["file:gone.key", "cannot be read"],
      ["file:../x", "outside of the folder"],
      ["file:broken.key", "not base64"],
    ] as const) {
      expect(await judge({ secrets: secret(text), env })).toMatchObject({
        level: "problem",
        what: expect.stringMatching(new RegExp(`^it is held: .*${words}`)),
      });
    }
  });
  it("is a problem where its receiver has not consented", async () => {
    expect(await judge({ missingConsent: "its receiver has not consented" })).toMatchObject({
      level: "problem",
      what: "it is held: its receiver has not consented",
    });
  });
});
