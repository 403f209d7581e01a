import { createServer, isIP, type AddressInfo, type Server } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LookupAll } from "../../src/deliver/shared-lookup.ts";
import { AddressGuard, NO_OWN_PLACES, type AddressPolicy } from "../../src/deliver/address-guard.ts";
import type { TransportRequest, TransportResult } from "../../src/deliver/transport.ts";
import { UndiciTransport } from "../../src/deliver/undici-transport.ts";
import { INTERNAL_FORMS, NEVER_FORMS } from "../support/address-forms.ts";
import { PLAIN_ROUTE } from "../support/route.ts";

let server: Server;
let port = 0;
/** What has come in: a connection, and bytes on it. */
let connections = 0;
let bytes = 0;
const closers: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  connections = 0;
  bytes = 0;
  server = createServer((socket) => {
    connections++;
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    });
  });
  // All addresses of the machine, of both families.
  await new Promise<void>((resolve) => server.listen(0, resolve));
  ({ port } = server.address() as AddressInfo);
});
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
  server.close();
});

function send(url: string, policy: Partial<AddressPolicy>, lookup?: LookupAll): Promise<TransportResult> {
  const guard = new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES, ...policy });
  const transport = new UndiciTransport({ guard, lookup });
  closers.push(() => transport.close());
  return transport.send(requestTo(url));
}
const requestTo = (url: string): TransportRequest => ({
  url,
  method: "POST",
  headers: [],
  body: Buffer.from("x"),
  timeoutMs: 2_000,
  route: PLAIN_ROUTE,
});
/** Answers each question with the next of the lists. */
const answering = (...answers: readonly (readonly string[])[]): LookupAll => {
  let at = 0;
  return (_, __, callback) => {
    const addresses = answers[Math.min(at++, answers.length - 1)]!;
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
    );
  };
};

describe("a connection", () => {
  it.each([
    "127.0.0.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "127.0.0.1.",
    "[::ffff:127.0.0.1]",
    "１２７.0.0.1",
  ])("is not made to the literal %s where that address is refused", async (host) => {
    const result = await send(`http://${host}:${port}/`, { deny: "127.0.0.0/8" });
    expect(result).toMatchObject({ kind: "failure", errorClass: "blocked_address" });
    expect(result.kind === "failure" && result.message).toContain("WALHOOK_DENY_ADDRESSES");
    expect(connections).toBe(0);
  });
  it("is not made to a name where one of its addresses is refused", async () => {
    const lookup = answering(["127.0.0.1", "169.254.169.254"]);
    expect(await send(`http://hooks.example.com:${port}/`, {}, lookup)).toMatchObject({
      errorClass: "blocked_address",
      message: `blocked: 169.254.169.254:${port} (hooks.example.com) is link-local, where clouds keep their metadata (169.254.0.0/16): never sent to, and no setting allows it`,
    });
    expect(connections).toBe(0);
  });
  it("is not made to a name that resolves to an address of the tables, whichever", async () => {
    const refused = [
      ...NEVER_FORMS.map((form) => ({ form, mode: "internal" as const })),
      ...INTERNAL_FORMS.map((form) => ({ form, mode: "public" as const })),
    ];
    for (const { form, mode } of refused) {
      const address = new URL(`http://${form}/`).hostname.replace(/^\[(.*)\]$/, "$1");
      if (isIP(address) === 0) continue;
      const result = await send(`http://hooks.example.com:${port}/`, { mode }, answering(["203.0.114.7", address]));
      expect({ form, result }).toMatchObject({ result: { errorClass: "blocked_address" } });
    }
    expect(connections).toBe(0);
  });
  it.each(["localhost", "LOCALHOST"])("is not made to what the system makes of %s", async (host) => {
    expect(await send(`http://${host}:${port}/`, { mode: "public" })).toMatchObject({ errorClass: "blocked_address" });
    expect(connections).toBe(0);
  });
  it("is made where the address is allowed, by a literal or a name", async () => {
    for (const host of ["127.0.0.1", "localhost"]) {
      expect(await send(`http://${host}:${port}/`, {})).toMatchObject({ kind: "response", statusCode: 200 });
    }
    expect(connections).toBe(2);
  });
  it("is judged anew each time, so that a name may not lead elsewhere later", async () => {
    const guard = new AddressGuard({ mode: "internal", allow: "", deny: "127.0.0.2", own: NO_OWN_PLACES });
    const transport = new UndiciTransport({ guard, lookup: answering(["127.0.0.1"], ["127.0.0.2"]) });
    closers.push(() => transport.close());
    expect(await transport.send(requestTo(`http://rebind.example:${port}/`))).toMatchObject({ kind: "response" });
    expect(await transport.send(requestTo(`http://rebind.example:${port}/`))).toMatchObject({
      errorClass: "blocked_address",
    });
    expect(connections).toBe(1);
  });
  it.each(["http", "https"])(
    "that has led to a refused peer all the same is cut before a byte is written, by %s",
    async (scheme) => {
      let asked = 0;
      const own = { find: () => (asked++ === 0 ? null : "somewhere else") };
      const result = await send(`${scheme}://hooks.example.com:${port}/`, { own }, answering(["127.0.0.1"]));
      expect(result).toMatchObject({ errorClass: "blocked_address" });
      expect(asked).toBeGreaterThan(1);
      expect(bytes).toBe(0);
    },
  );
  it("knows its port also where the URL leaves it out", async () => {
    for (const [url, place] of [
      ["http://127.0.0.1/", "127.0.0.1:80"],
      ["https://[::1]/", "[::1]:443"],
    ] as const) {
      const result = await send(url, { mode: "public" });
      expect(result.kind === "failure" && result.message).toContain(place);
    }
  });
});
