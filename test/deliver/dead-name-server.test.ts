import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import { ProxyChoice } from "../../src/deliver/proxy-choice.ts";
import { RoutingTransport } from "../../src/deliver/routing-transport.ts";
import { SharedLookup } from "../../src/deliver/shared-lookup.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";
import { eventually } from "../support/eventually.ts";
import { fewThreads, type FewThreads } from "../support/few-threads.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { requestTo } from "../support/transports.ts";

/** As many lookups at once as Node has by default: the smallest room that there is. */
const THREADS = 2;
const DEAD = ["hooks.dead.example", "proxy.dead.example"];

let receiver: Receiver;
let threads: FewThreads;
let transport: RoutingTransport;
beforeEach(async () => {
  receiver = await startReceiver();
  // Each request needs a connection of its own, and so a lookup.
  receiver.answer({ headers: { connection: "close" } });
  threads = fewThreads(THREADS, Object.fromEntries(DEAD.map((host) => [host, null])));
  transport = new RoutingTransport({
    guard: new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES }),
    tlsDirectory: "",
    proxies: new ProxyChoice({}),
    lookup: new SharedLookup(threads.lookup, THREADS).ask,
  });
});
afterEach(async () => {
  await transport.close();
  await receiver.close();
});

const toLive = (): Promise<TransportResult> =>
  transport.send(requestTo(`http://live.example:${receiver.port}/`, {}, { timeoutMs: 2_000 }));

describe("a receiver whose name server does not answer", () => {
  it.each([
    ["straight", "http://hooks.dead.example/", null],
    ["through a proxy with such a name", "http://127.0.0.1/", "http://proxy.dead.example"],
  ])("delays nobody else, %s", async (_, url, proxy) => {
    expect(await toLive()).toMatchObject({ statusCode: 200 });
    let ended = 0;
    const dead = Array.from({ length: 200 }, () =>
      transport.send(requestTo(url, { proxy }, { timeoutMs: 30_000 })).finally(() => ended++),
    );
    await eventually(() => threads.busy() === 1);
    for (let n = 0; n < 40; n++) expect(await toLive()).toMatchObject({ kind: "response", statusCode: 200 });
    expect(ended).toBe(0);
    expect(receiver.requests).toHaveLength(41);
    expect(threads.begun.filter((host) => host !== "live.example")).toHaveLength(1);
    for (const host of DEAD) threads.answer(host, "EAI_AGAIN");
    for (const result of await Promise.all(dead)) expect(result).toMatchObject({ kind: "failure" });
  });

  it("gets what waits for it as soon as its name is known", async () => {
    const url = `http://hooks.dead.example:${receiver.port}/`;
    const waiting = Array.from({ length: 50 }, () => transport.send(requestTo(url, {})));
    await eventually(() => threads.busy() === 1);
    threads.answer("hooks.dead.example", "127.0.0.1");
    for (const result of await Promise.all(waiting)) expect(result).toMatchObject({ statusCode: 200 });
    expect(receiver.requests).toHaveLength(50);
  });

  it("ends each attempt within its time", async () => {
    const url = "http://hooks.dead.example/";
    const all = Array.from({ length: 50 }, () => transport.send(requestTo(url, {}, { timeoutMs: 200 })));
    for (const result of await Promise.all(all)) {
      expect(result).toMatchObject({ kind: "failure", errorClass: "timeout", trip: { remoteAddress: null } });
    }
  });
});
