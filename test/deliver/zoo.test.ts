import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import { ProxyChoice } from "../../src/deliver/proxy-choice.ts";
import { decideRetry } from "../../src/deliver/retry.ts";
import { RoutingTransport } from "../../src/deliver/routing-transport.ts";
import { MAX_RESPONSE_BYTES, type TransportResult } from "../../src/deliver/transport.ts";
import { CERTIFICATES, EXPIRED } from "../support/certificates.ts";
import { startSocksProxy, type TestProxy } from "../support/proxy.ts";
import { requestTo } from "../support/transports.ts";
import { animalNamed, ZOO } from "../support/zoo/zoo.ts";

const TIMEOUT_MS = 300;
/** What the buffers of the operating system take, and some. */
const MAX_BYTES_READ = 32 * 1024 * 1024;

let proxy: TestProxy;
let folder: string;
let transport: RoutingTransport;
beforeAll(async () => {
  proxy = await startSocksProxy("socks5");
  folder = await mkdtemp(join(tmpdir(), "walhook-zoo-"));
  await writeFile(join(folder, "zoo.ca.pem"), CERTIFICATES.authority + EXPIRED.cert);
  const guard = new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES });
  transport = new RoutingTransport({ guard, tlsDirectory: folder, proxies: new ProxyChoice({}) });
});
afterAll(async () => {
  await transport.close();
  await proxy[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** The class in the log; empty where it is delivered. */
function classOf(result: TransportResult): string {
  if (result.kind === "failure") return result.errorClass;
  return result.statusCode >= 200 && result.statusCode < 300 ? "" : "http_status";
}

const DAY_MS = 86_400_000;
const dueInMs = (result: TransportResult): number => {
  const decision = decideRetry(result, 1, { scheduleMs: [5_000], nowMs: 0, random: 0 });
  return decision.kind === "retry" ? decision.dueAtMs : 0;
};

describe.each(["without a proxy", "through a SOCKS proxy"])("a receiver that, %s,", (way) => {
  const isProxied = way !== "without a proxy";
  const send = (url: string): Promise<TransportResult> => {
    const route = { proxy: isProxied ? proxy.url : "direct", tlsProfile: "zoo" };
    return transport.send(requestTo(url, route, { timeoutMs: TIMEOUT_MS }));
  };
  const animals = ZOO.filter(({ throughProxy }) => !isProxied || throughProxy !== null);

  it.each(animals)("$does: $outcome $errorClass", async ({ errorClass, throughProxy, next, open }) => {
    const den = await open();
    try {
      const result = await send(den.url);
      expect({ result, class: classOf(result) }).toMatchObject({
        class: isProxied ? (throughProxy ?? errorClass) : errorClass,
      });
      expect(result.durationMs).toBeLessThan(TIMEOUT_MS + 1_000);
      if (result.kind === "response") expect(result.body.length).toBeLessThanOrEqual(MAX_RESPONSE_BYTES);
      if (result.kind === "failure") expect(result.message).not.toBe("");
      expect(den.written?.() ?? 0).toBeLessThan(MAX_BYTES_READ);
      expect(dueInMs(result)).toBeLessThanOrEqual(DAY_MS);
      if (next === undefined) return;
      // Two more, over what is left of the connection, and when it is known what became of it.
      expect(classOf(await send(den.url))).toBe("");
      await new Promise((resolve) => setImmediate(resolve));
      expect(classOf(await send(den.url))).toBe("");
    } finally {
      den.close();
    }
  });

  it.each([
    ["says Retry-After: a thousand years", DAY_MS],
    ["says Retry-After: -5", 5_000],
    ["says Retry-After: in 1970", 5_000],
    ["says Retry-After: soon", 5_000],
  ])("%s is asked again after %i ms, where its schedule has 5000", async (does, ms) => {
    const den = await animalNamed(does).open();
    expect(dueInMs(await send(den.url))).toBe(ms);
    den.close();
  });
});

describe("docs/receivers.md", () => {
  it("says of each of these receivers what comes of it, and of no others", async () => {
    const page = await readFile(new URL("../../docs/receivers.md", import.meta.url), "utf8");
    const table = page.split("## What comes of what")[1]!.split("\n## ")[0]!;
    const rows = table
      .split("\n")
      .filter((line) => line.startsWith("| "))
      .slice(1);
    expect(rows).toEqual(
      ZOO.map(({ does, outcome, errorClass, throughProxy }) => {
        const other =
          throughProxy === ""
            ? " (delivered through a proxy)"
            : throughProxy
              ? ` (\`${throughProxy}\` through a proxy)`
              : "";
        return `| ${does} | ${outcome} | ${errorClass === "" ? "" : `\`${errorClass}\``}${other} |`;
      }),
    );
  });
});
