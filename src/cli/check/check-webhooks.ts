import { lookup as systemLookup, type LookupAddress } from "node:dns";
import { promisify } from "node:util";
import type { LookupAll } from "../../deliver/shared-lookup.ts";
import type { AddressGuard } from "../../deliver/address-guard.ts";
import { parseAddress } from "../../deliver/address-range.ts";
import { environmentProxy, type Environment } from "../../deliver/environment-proxy.ts";
import type { KeyRing } from "../../deliver/key-ring.ts";
import type { TlsProfiles } from "../../deliver/tls-profiles.ts";
import { ok, problem, type Finding } from "./finding.ts";
import type { WebhookFacts } from "./webhook-facts.ts";

/** What webhooks are judged by: the same that the bridge goes by, as it is where this runs. */
export interface Surroundings {
  readonly guard: AddressGuard;
  readonly profiles: TlsProfiles;
  readonly keys: KeyRing;
  /** Where proxies are named. */
  readonly env: Environment;
  readonly lookup?: LookupAll;
}

/** A name that is not answered for so long is taken for one that does not resolve. */
const LOOKUP_MS = 5_000;

/**
 * Judges every webhook: whether its requests may go where they are to go, whether names resolve, and whether certificates
 * and secrets can be read. Names are looked up; nothing is sent to a receiver or a proxy.
 */
export async function checkWebhooks(
  webhooks: readonly WebhookFacts[],
  world: Surroundings,
): Promise<readonly Finding[]> {
  await world.keys.refresh(webhooks);
  const names = new Names(world.lookup ?? systemLookup);
  const findings = await Promise.all(webhooks.map((webhook) => judge(webhook, world, names)));
  return findings.flat();
}

async function judge(webhook: WebhookFacts, world: Surroundings, names: Names): Promise<readonly Finding[]> {
  const where = `webhook ${webhook.name}`;
  const way = await judgeWay(webhook, world, names);
  const troubles = [
    ...(typeof way === "string" ? [] : [way]),
    ...judgeCertificates(webhook, world.profiles),
    ...judgeSecrets(webhook, world.keys),
    ...judgeConsent(webhook),
  ];
  if (typeof way === "string" && troubles.length === 0) return [ok(where, way)];
  return troubles.map(({ what, remedy }) => problem(where, what, remedy));
}

interface Trouble {
  readonly what: string;
  readonly remedy: string;
}

/** How its requests leave, in words; or why they will not arrive. */
async function judgeWay(
  { requestUrl, isDynamicUrl, route }: WebhookFacts,
  { guard, env }: Surroundings,
  names: Names,
): Promise<string | Trouble> {
  const url = isDynamicUrl ? fixedOrigin(requestUrl) : URL.canParse(requestUrl) ? new URL(requestUrl) : null;
  if (url === null && isDynamicUrl) return "its host is rendered for each event, and judged at each request";
  if (url === null) return { what: "request_url is no URL", remedy: "Change request_url." };
  const place = `${url.hostname}:${portOf(url)}`;
  const proxy = route.proxy === "direct" ? null : (route.proxy ?? environmentProxy(url, env));
  if (proxy === null) {
    const found = await judgePlace(url, guard, names, "request_url");
    return typeof found === "string" ? `${place} ${found}` : found;
  }
  if (proxy.startsWith("pac+")) {
    const refusal = guard.hostRefusal(url.hostname, portOf(url));
    return refusal === null ? `${place}, by the way that a PAC file chooses` : refused(refusal, "request_url");
  }
  const refusal = guard.hostRefusal(url.hostname, portOf(url), true);
  if (refusal !== null) return refused(refusal, "request_url");
  const shown = withoutCredentials(proxy);
  if (!URL.canParse(proxy))
    return { what: `its proxy ${shown} is no URL`, remedy: "Change HTTP_PROXY, HTTPS_PROXY or ALL_PROXY." };
  // One that the operator names may be anywhere, as in the bridge.
  const found = await judgePlace(new URL(proxy), route.proxy === null ? null : guard, names, "the proxy");
  if (typeof found !== "string") return { ...found, what: `its proxy ${shown}: ${found.what}` };
  return `${place} through the proxy ${shown}, which looks names up itself`;
}

/**
 * What would be dialled, in words; or why nothing would be.
 * @param guard null: it may be anywhere
 * @param setting where it stands
 */
async function judgePlace(
  url: URL,
  guard: AddressGuard | null,
  names: Names,
  setting: string,
): Promise<string | Trouble> {
  const { hostname: host } = url;
  const port = portOf(url);
  const early = guard?.hostRefusal(host, port) ?? null;
  if (early !== null) return refused(early, setting);
  if (parseAddress(host) !== null) return "may be reached";
  const found = await names.resolve(host);
  if (typeof found === "string") {
    return {
      what: `${host} does not resolve here: ${found}`,
      remedy: `Look at the name in ${setting}, and at this machine's DNS: getent hosts ${host}`,
    };
  }
  for (const address of found) {
    const refusal = guard?.refusal({ address, port, host }) ?? null;
    if (refusal !== null) return refused(refusal, setting);
  }
  return `resolves to ${found.join(", ")}, and may be reached`;
}

function refused(refusal: string, setting: string): Trouble {
  return {
    what: `its requests are blocked: ${refusal}`,
    remedy: `Change ${setting}, or the operator's setting that is named; deliveries wait, and are tried again by the webhook's schedule.`,
  };
}

function judgeCertificates({ route }: WebhookFacts, profiles: TlsProfiles): readonly Trouble[] {
  try {
    profiles.of(route);
    return [];
  } catch (error) {
    const remedy =
      "Put its files where WALHOOK_TLS_DIRECTORY says, readable for the bridge, or set tls_profile = null.";
    return [{ what: error instanceof Error ? error.message : String(error), remedy }];
  }
}

function judgeSecrets(webhook: WebhookFacts, keys: KeyRing): readonly Trouble[] {
  const found = keys.problemOf(webhook, Date.now());
  if (found === null) return [];
  const remedy =
    "Put it where the webhook says, or change webhook_secret. Run this in the environment of the bridge, which reads it.";
  return [{ what: `it is held: ${found}`, remedy }];
}

function judgeConsent({ missingConsent }: WebhookFacts): readonly Trouble[] {
  if (missingConsent === null) return [];
  return [{ what: `it is held: ${missingConsent}`, remedy: "Its deliveries wait; it is asked again by itself." }];
}

/** Of a templated URL scheme, host and port, where no part of them is rendered. */
function fixedOrigin(template: string): URL | null {
  const [origin] = /^https?:\/\/[^/?#{]+(?=[/?#])/i.exec(template.trim()) ?? [];
  return origin !== undefined && URL.canParse(origin) ? new URL(origin) : null;
}

function portOf({ port, protocol }: URL): number {
  if (port === "" && protocol.startsWith("socks")) return 1080;
  return Number(port) || (protocol === "https:" ? 443 : 80);
}

function withoutCredentials(url: string): string {
  return url.replace(/\/\/.*@/, "//").replace(/\/$/, "");
}

/** Looks each name up once, however many webhooks go there. */
class Names {
  readonly #lookup: LookupAll;
  readonly #asked = new Map<string, Promise<readonly string[] | string>>();

  constructor(lookup: LookupAll) {
    this.#lookup = lookup;
  }

  /** The addresses, or why there are none. Never rejects. */
  resolve(host: string): Promise<readonly string[] | string> {
    let asked = this.#asked.get(host);
    if (asked === undefined) this.#asked.set(host, (asked = this.#ask(host)));
    return asked;
  }

  async #ask(host: string): Promise<readonly string[] | string> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`no answer within ${LOOKUP_MS} ms`), LOOKUP_MS);
    });
    const found = promisify<string, { readonly all: true }, LookupAddress[]>(this.#lookup)(host, { all: true }).then(
      (addresses) => (addresses.length === 0 ? "it has no address" : addresses.map(({ address }) => address)),
      (error: Error) => error.message,
    );
    const first = await Promise.race([found, late]);
    clearTimeout(timer);
    return first;
  }
}
