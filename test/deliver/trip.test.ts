import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LookupAll } from "../../src/deliver/shared-lookup.ts";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";
import { UndiciTransport } from "../../src/deliver/undici-transport.ts";
import { CERTIFICATES } from "../support/certificates.ts";
import { PROXIES, requestTo, startSurroundings, type Surroundings } from "../support/transports.ts";

const LOOKUP_MS = 30;
/** A lookup that takes its time. */
const lookup: LookupAll = (_, __, callback) =>
  void setTimeout(() => callback(null, [{ address: "127.0.0.1", family: 4 }]), LOOKUP_MS);

let world: Surroundings;
let transport: UndiciTransport;
let tls: TlsServer;
beforeAll(async () => {
  world = await startSurroundings();
  transport = new UndiciTransport({
    guard: new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES }),
    lookup,
    tls: { ca: CERTIFICATES.authority },
  });
  tls = createTlsServer(CERTIFICATES.server, (message, response) => message.on("end", () => response.end()).resume());
  await new Promise<void>((resolve) => tls.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  await transport.close();
  tls.closeAllConnections();
  tls.close();
  await world.close();
});

const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;
const send = (url: string, timeoutMs = 3_000): Promise<TransportResult> =>
  transport.send(requestTo(url, {}, { timeoutMs }));

describe("what is known of a request's way", () => {
  it("are the times of its steps and the receiver's address, on a new connection", async () => {
    world.receiver.answer({ delayMs: 50 });
    const { trip, durationMs } = await send(`http://one.example:${world.receiver.port}/`);
    expect(trip).toMatchObject({ tlsMs: null, remoteAddress: "127.0.0.1" });
    const { dnsMs, connectMs, firstByteMs } = trip as unknown as Record<string, number>;
    expect(dnsMs).toBeGreaterThan(LOOKUP_MS - 5);
    expect(connectMs).toBeGreaterThan(0);
    expect(firstByteMs).toBeGreaterThan(dnsMs! + connectMs! + 45);
    expect(durationMs).toBeGreaterThanOrEqual(firstByteMs!);
  });

  it("are no steps on a connection that was there before", async () => {
    world.receiver.answer({});
    const url = `http://two.example:${world.receiver.port}/`;
    await send(url);
    // It is free a turn of the event loop after its answer.
    await new Promise((resolve) => setImmediate(resolve));
    const { trip } = await send(url);
    expect(trip).toMatchObject({ dnsMs: null, connectMs: null, tlsMs: null, remoteAddress: "127.0.0.1" });
    expect(trip?.firstByteMs).toBeGreaterThan(0);
  });

  it("is no lookup where the URL has an address", async () => {
    const { trip } = await send(`http://127.0.0.1:${world.receiver.port}/`);
    expect(trip).toMatchObject({ dnsMs: null, remoteAddress: "127.0.0.1" });
    expect(trip?.connectMs).toBeGreaterThan(0);
  });

  it("is the time of TLS, without that of the connection before it", async () => {
    const { trip } = await send(`https://localhost:${portOf(tls)}/`);
    expect(trip?.tlsMs).toBeGreaterThan(0);
    expect(trip?.connectMs).toBeGreaterThan(0);
    expect(trip?.dnsMs).toBeGreaterThan(LOOKUP_MS - 5);
  });

  it.each([
    ["hangs in TLS", "https://localhost", { tlsMs: null, firstByteMs: null, remoteAddress: "127.0.0.1" }],
    ["hangs before the answer", "http://localhost", { tlsMs: null, firstByteMs: null, remoteAddress: "127.0.0.1" }],
  ])("is as much as there was where the receiver %s", async (_, base, expected) => {
    const silent = createServer((socket) => void socket.on("error", () => {}).resume());
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const result = await send(`${base}:${portOf(silent)}/`, 200);
    expect(result).toMatchObject({ errorClass: "timeout", trip: expected });
    expect(result.trip?.connectMs).toBeGreaterThan(0);
    silent.close();
  });

  it("is the lookup alone where the connection is refused, and nothing where nothing was dialled", async () => {
    const refused = await send("http://three.example:1/");
    expect(refused).toMatchObject({ errorClass: "connect", trip: { connectMs: null, remoteAddress: null } });
    expect(refused.trip?.dnsMs).toBeGreaterThan(LOOKUP_MS - 5);
    expect(await send("http://169.254.169.254/")).toMatchObject({
      errorClass: "blocked_address",
      trip: { dnsMs: null, connectMs: null, remoteAddress: null },
    });
  });

  it.each(PROXIES)(
    "through %s is the time until the way stood, TLS with the receiver, and the proxy's address",
    async (way) => {
      const route = { proxy: world.proxies[way]!.url, tlsProfile: "partner" };
      world.receiver.answer({});
      const plain = await world.transport().send(requestTo(world.receiver.url, route));
      expect(plain).toMatchObject({ statusCode: 200, trip: { dnsMs: null, tlsMs: null } });
      const secure = await world.transport().send(requestTo(`https://localhost:${world.tlsPort}/`, route));
      for (const { trip } of [plain, secure]) {
        expect(trip?.connectMs).toBeGreaterThan(0);
        expect(trip?.firstByteMs).toBeGreaterThan(trip!.connectMs!);
        expect(trip?.remoteAddress).toBe("127.0.0.1");
      }
      expect(secure.trip?.tlsMs).toBeGreaterThan(0);
    },
  );
});
