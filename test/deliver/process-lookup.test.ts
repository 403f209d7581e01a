import { PerformanceObserver } from "node:perf_hooks";
import { describe, expect, it } from "vitest";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import { lookupThreads } from "../../src/deliver/process-lookup.ts";
import { ProxyChoice } from "../../src/deliver/proxy-choice.ts";
import { RoutingTransport } from "../../src/deliver/routing-transport.ts";
import type { Route } from "../../src/match/webhook.ts";
import { eventually } from "../support/eventually.ts";
import { startHttpProxy } from "../support/proxy.ts";
import { startReceiver } from "../support/receiver.ts";
import { requestTo } from "../support/transports.ts";

describe("the threads that look names up", () => {
  it.each([
    [undefined, 2],
    ["64", 32],
    ["5", 3],
    ["2", 1],
    ["1", 1],
    ["0", 1],
    ["many", 1],
    ["-1", 512],
    ["5000", 512],
  ])("of UV_THREADPOOL_SIZE=%s are %i", (size, expected) => {
    expect(lookupThreads({ UV_THREADPOOL_SIZE: size })).toBe(expected);
  });
});

/** How often the system looks `localhost` up while forty requests are sent at once, by two transports of one process. */
async function lookupsOfForty(
  url: string,
  route: Partial<Route>,
  env: Readonly<Record<string, string>> = {},
): Promise<number> {
  const guard = new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES });
  const transports = [1, 2].map(() => new RoutingTransport({ guard, tlsDirectory: "", proxies: new ProxyChoice(env) }));
  let lookups = 0;
  const observer = new PerformanceObserver((list) => {
    lookups += list.getEntries().filter((entry) => JSON.stringify(entry.toJSON()).includes('"localhost"')).length;
  });
  observer.observe({ entryTypes: ["dns"] });
  const all = transports.flatMap((transport) =>
    Array.from({ length: 20 }, () => transport.send(requestTo(url, route))),
  );
  for (const result of await Promise.all(all)) expect(result).toMatchObject({ kind: "response", statusCode: 200 });
  await eventually(() => lookups > 0);
  observer.disconnect();
  await Promise.all(transports.map((transport) => transport.close()));
  return lookups;
}

describe("a name for which many connections are opened at once", () => {
  it("is looked up for many at once, whatever transport they are of", async () => {
    await using receiver = await startReceiver();
    expect(await lookupsOfForty(`http://localhost:${receiver.port}/`, {})).toBeLessThan(20);
  });

  it("is looked up for many at once where it is a proxy's, the operator's too", async () => {
    await using receiver = await startReceiver();
    await using proxy = await startHttpProxy({ hosts: { "receiver.example": "127.0.0.1" } });
    const url = proxy.url.replace("127.0.0.1", "localhost");
    const target = receiver.url.replace("127.0.0.1", "receiver.example");
    expect(await lookupsOfForty(target, { proxy: url })).toBeLessThan(20);
    expect(await lookupsOfForty(target, {}, { HTTP_PROXY: url })).toBeLessThan(20);
  });
});
