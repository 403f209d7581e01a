import { createServer as createTlsServer } from "node:https";
import { createServer, type AddressInfo, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AddressPolicy } from "../../src/deliver/address-guard.ts";
import { MAX_RESPONSE_BYTES, type TransportRequest, type TransportResult } from "../../src/deliver/transport.ts";
import type { Route } from "../../src/match/webhook.ts";
import { INTERNAL_FORMS, NEVER_FORMS } from "../support/address-forms.ts";
import { CERTIFICATES } from "../support/certificates.ts";
import { PLAIN_ROUTE } from "../support/route.ts";
import { PROXIES, requestTo, startSurroundings, type Surroundings } from "../support/transports.ts";

let world: Surroundings;
beforeAll(async () => {
  world = await startSurroundings();
});
afterAll(() => world.close());

async function rawServer(answer: string, thenDrip = false): Promise<Server & { readonly url: string }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => {
      socket.write(answer);
      if (thenDrip) setInterval(() => socket.writable && socket.write("x"), 10).unref();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(server, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
}

describe.each(["no proxy", ...PROXIES])("a request through %s", (way) => {
  const transport = (
    policy: Partial<AddressPolicy> = {},
  ): { send: (url: string, over?: Partial<TransportRequest>) => Promise<TransportResult> } => ({
    send: (url, over = {}) => {
      const proxy = world.proxies[way]?.url ?? "direct";
      // The HTTPS proxy's own certificate is from the same authority.
      const tlsProfile = way === "an HTTPS proxy" || url.startsWith("https:") ? "partner" : null;
      return world.transport(policy).send(requestTo(url, { proxy, tlsProfile, ...over.route }, over));
    },
  });

  it.each(["POST", "PUT", "PATCH", "DELETE"])(
    "carries the exact bytes by %s, and brings the answer",
    async (method) => {
      world.receiver.answer({ status: 201, headers: { "x-request-id": "7", "set-cookie": "secret=1" }, body: "done" });
      const result = await transport().send(`${world.receiver.url}/a?b=1`, {
        method,
        headers: [
          ["X-A", "1"],
          ["Accept-Encoding", "gzip"],
        ],
      });
      expect(result).toMatchObject({
        kind: "response",
        statusCode: 201,
        body: "done",
        headers: { "x-request-id": "7" },
      });
      expect(result.kind === "response" && result.headers).not.toHaveProperty("set-cookie");
      const got = world.receiver.requests.at(-1)!;
      expect(got).toMatchObject({ method, path: "/a?b=1", body: Buffer.from('{"a":"é"}') });
      expect(got.headers).toMatchObject({
        "x-a": "1",
        "accept-encoding": "identity",
        host: new URL(world.receiver.url).host,
        "content-length": "10",
      });
      expect(got.headers).not.toHaveProperty("transfer-encoding");
    },
  );
  it("carries the exact bytes over TLS", async () => {
    expect(await transport().send(`https://localhost:${world.tlsPort}/`)).toMatchObject({
      kind: "response",
      statusCode: 200,
    });
    expect(world.overTls.at(-1)).toMatchObject({ body: Buffer.from('{"a":"é"}'), version: "TLSv1.3", client: null });
  });
  it("is not sent to who has no certificate of a known authority", async () => {
    const before = world.overTls.length;
    const route = {
      ...PLAIN_ROUTE,
      proxy: way === "an HTTPS proxy" ? world.proxies["an HTTP proxy"]!.url : (world.proxies[way]?.url ?? "direct"),
    };
    const result = await world.transport().send(requestTo(`https://localhost:${world.tlsPort}/`, route));
    expect(result).toMatchObject({ kind: "failure", errorClass: "tls" });
    expect(world.overTls).toHaveLength(before);
  });
  it("does not follow a redirect", async () => {
    world.receiver.answer({ status: 302, headers: { location: "/elsewhere" } });
    const before = world.receiver.requests.length;
    expect(await transport().send(world.receiver.url)).toMatchObject({
      kind: "response",
      statusCode: 302,
      headers: { location: "/elsewhere" },
    });
    expect(world.receiver.requests).toHaveLength(before + 1);
  });
  it("ends at its deadline when no answer comes", async () => {
    world.receiver.answer({ hang: true });
    expect(await transport().send(world.receiver.url, { timeoutMs: 150 })).toMatchObject({
      kind: "failure",
      errorClass: "timeout",
    });
  });
  it("ends at its deadline when the answer drips", async () => {
    const server = await rawServer("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", true);
    const result = await transport().send(server.url, { timeoutMs: 300 });
    expect(result).toMatchObject({ kind: "failure", errorClass: "timeout" });
    expect(result.durationMs).toBeLessThan(2_000);
    server.close();
  });
  it("keeps the beginning of a long answer and leaves the rest", async () => {
    world.receiver.answer({ body: "y".repeat(10 * MAX_RESPONSE_BYTES) });
    const result = await transport().send(world.receiver.url);
    expect(result.kind === "response" && result.body).toBe("y".repeat(MAX_RESPONSE_BYTES));
  });
  it("is a failure where the answer's headers do not end", async () => {
    const server = await rawServer(`HTTP/1.1 200 OK\r\n${`x-a: ${"y".repeat(1_000)}\r\n`.repeat(200)}`);
    const result = await transport().send(server.url);
    // An HTTP proxy reads them itself.
    if (result.kind === "response") expect(result.statusCode).toBe(502);
    else expect(result.errorClass).toBe("protocol");
    server.close();
  });
  it("does not unpack an answer that is compressed all the same", async () => {
    world.receiver.answer({ headers: { "content-encoding": "gzip" }, body: "not gzip" });
    expect(await transport().send(world.receiver.url)).toMatchObject({
      kind: "response",
      statusCode: 200,
      body: "not gzip",
    });
  });
  it("is not sent with a header that would split it", async () => {
    const before = world.receiver.requests.length;
    const result = await transport().send(world.receiver.url, { headers: [["x-a", "b\r\nx-c: d"]] });
    expect(result).toMatchObject({ kind: "failure", errorClass: "invalid_request" });
    expect(world.receiver.requests).toHaveLength(before);
  });
  it("is sent to no literal address that is refused, however it is written", async () => {
    const before = world.proxies[way]?.targets.length;
    const refused = [
      ...NEVER_FORMS.map((host) => ({ host, mode: "internal" as const })),
      ...INTERNAL_FORMS.map((host) => ({ host, mode: "public" as const })),
    ];
    for (const { host, mode } of refused) {
      const allow = `127.0.0.1:${world.proxies[way]?.port ?? 1}`;
      const result = await transport({ mode, allow }).send(`http://${host}/`);
      expect({ host, result }).toMatchObject({ result: { kind: "failure", errorClass: "blocked_address" } });
    }
    expect(world.proxies[way]?.targets.length).toBe(before);
  });
  it("shows the client's certificate of its profile", async () => {
    const route = { ...PLAIN_ROUTE, proxy: world.proxies[way]?.url ?? "direct", tlsProfile: "mutual" };
    expect(await world.transport().send(requestTo(`https://localhost:${world.tlsPort}/`, route))).toMatchObject({
      kind: "response",
    });
    expect(world.overTls.at(-1)).toMatchObject({ client: "walhook test client" });
  });
  it("speaks no older TLS than its webhook says", async () => {
    const old = createTlsServer({ ...CERTIFICATES.server, maxVersion: "TLSv1.2" }, (_, response) => response.end());
    await new Promise<void>((resolve) => old.listen(0, "127.0.0.1", resolve));
    const url = `https://localhost:${(old.address() as AddressInfo).port}/`;
    const proxy = world.proxies[way]?.url ?? "direct";
    const send = (tlsMinVersion: Route["tlsMinVersion"]): Promise<TransportResult> =>
      world.transport().send(requestTo(url, { proxy, tlsProfile: "partner", tlsMinVersion }));
    expect(await send("TLSv1.2")).toMatchObject({ kind: "response", statusCode: 200 });
    expect(await send("TLSv1.3")).toMatchObject({ kind: "failure", errorClass: "tls" });
    old.closeAllConnections();
    old.close();
  });
});
