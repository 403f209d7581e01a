import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AddressGuard, NO_OWN_PLACES } from "../../src/deliver/address-guard.ts";
import { MAX_RESPONSE_BYTES, type TransportRequest } from "../../src/deliver/transport.ts";
import { UndiciTransport } from "../../src/deliver/undici-transport.ts";
import { PLAIN_ROUTE } from "../support/route.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";

let receiver: Receiver;
const transport = new UndiciTransport({
  guard: new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES }),
});
beforeAll(async () => {
  receiver = await startReceiver();
});
afterAll(async () => {
  await transport.close();
  await receiver.close();
});

const request = (url: string, over: Partial<TransportRequest> = {}): TransportRequest => ({
  url,
  method: "POST",
  headers: [["content-type", "application/json"]],
  body: Buffer.from('{"a":1}'),
  timeoutMs: 2_000,
  route: PLAIN_ROUTE,
  ...over,
});

async function rawServer(onConnection: (write: (text: string) => void, destroy: () => void) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () =>
      onConnection(
        (text) => void socket.write(text),
        () => socket.destroy(),
      ),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
const urlOf = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

describe("a request", () => {
  it.each(["POST", "PUT", "PATCH", "DELETE"])("carries the exact bytes by %s", async (method) => {
    receiver.answer({ status: 201, headers: { "x-request-id": "7" }, body: "done" });
    const result = await transport.send(request(`${receiver.url}/a?b=1`, { method, body: Buffer.from("{ é }") }));
    expect(result).toMatchObject({ kind: "response", statusCode: 201, body: "done", headers: { "x-request-id": "7" } });
    expect(receiver.requests.at(-1)).toMatchObject({ method, path: "/a?b=1", body: Buffer.from("{ é }") });
  });
  it("asks for an answer that is not compressed, whatever a header of the webhook says", async () => {
    await transport.send(request(receiver.url, { headers: [["Accept-Encoding", "gzip"]] }));
    expect(receiver.requests.at(-1)?.headers["accept-encoding"]).toBe("identity");
  });
  it("does not follow a redirect", async () => {
    receiver.answer({ status: 302, headers: { location: "/elsewhere" } });
    const before = receiver.requests.length;
    const result = await transport.send(request(receiver.url));
    expect(result).toMatchObject({ kind: "response", statusCode: 302, headers: { location: "/elsewhere" } });
    expect(receiver.requests).toHaveLength(before + 1);
  });
  it("ends at its deadline when no answer comes", async () => {
    receiver.answer({ hang: true });
    const result = await transport.send(request(receiver.url, { timeoutMs: 50 }));
    expect(result).toMatchObject({ kind: "failure", errorClass: "timeout" });
  });
  it("ends at its deadline when the answer drips", async () => {
    const server = await rawServer((write) => {
      write("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
      const timer = setInterval(() => write("x"), 5);
      timer.unref();
    });
    const result = await transport.send(request(urlOf(server), { timeoutMs: 100 }));
    expect(result).toMatchObject({ kind: "failure", errorClass: "timeout" });
    server.close();
  });
  it("keeps the beginning of a long answer and leaves the rest", async () => {
    receiver.answer({ body: "y".repeat(10 * MAX_RESPONSE_BYTES) });
    const result = await transport.send(request(receiver.url));
    expect(result.kind === "response" && result.body.length).toBe(MAX_RESPONSE_BYTES);
  });
  it.each([
    ["connect", "http://127.0.0.1:1/"],
    ["dns", "http://no-such-host.invalid/"],
    ["invalid_request", "http://[::1/"],
  ])("says of a failure that it is of class %s", async (errorClass, url) => {
    expect(await transport.send(request(url))).toMatchObject({ kind: "failure", errorClass });
  });
  it("says of a connection that is closed without an answer that it was reset", async () => {
    receiver.answer({ reset: true });
    expect(await transport.send(request(receiver.url))).toMatchObject({ kind: "failure", errorClass: "reset" });
  });
  it("says of a server that speaks no TLS that TLS failed", async () => {
    const result = await transport.send(request(receiver.url.replace("http:", "https:")));
    expect(result).toMatchObject({ kind: "failure", errorClass: "tls" });
  });
  it("refuses a header that would split the request, without sending anything", async () => {
    const before = receiver.requests.length;
    const result = await transport.send(request(receiver.url, { headers: [["x-a", "b\r\nx-c: d"]] }));
    expect(result).toMatchObject({ kind: "failure", errorClass: "invalid_request" });
    expect(receiver.requests).toHaveLength(before);
  });
});

describe("a connection that is closed when a request comes", () => {
  /** Closes each connection at its so many-th request, without an answer. */
  async function closingAt(nth: number): Promise<Server & { readonly seen: string[] }> {
    const seen: string[] = [];
    const server = createServer((socket) => {
      let count = 0;
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        seen.push(/webhook-id: (.*)\r/.exec(chunk.toString())?.[1] ?? "");
        if (++count >= nth) socket.destroy();
        else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return Object.assign(server, { seen });
  }
  const send = (server: Server, id: string) =>
    transport.send(request(urlOf(server), { headers: [["webhook-id", id]] }));

  it("was kept from an earlier one: it is sent once more, at once, over a new one", async () => {
    const server = await closingAt(2);
    await send(server, "msg_1");
    await new Promise((resolve) => setImmediate(resolve));
    const result = await send(server, "msg_2");
    expect(result).toMatchObject({ kind: "response", statusCode: 200 });
    expect(result.trip?.connectMs).toBeGreaterThan(0);
    expect(server.seen).toEqual(["msg_1", "msg_2", "msg_2"]);
    server.close();
  });
  it("was made for it: that is a failure, and nothing is sent twice", async () => {
    const server = await closingAt(1);
    expect(await send(server, "msg_1")).toMatchObject({ kind: "failure", errorClass: "reset" });
    expect(server.seen).toEqual(["msg_1"]);
    server.close();
  });
});
