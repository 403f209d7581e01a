import { createServer, type AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AddressPolicy } from "../../src/deliver/address-guard.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";
import { eventually } from "../support/eventually.ts";
import { startHttpProxy } from "../support/proxy.ts";
import { PROXIES, PROXY_HOSTS, requestTo, startSurroundings, type Surroundings } from "../support/transports.ts";

let world: Surroundings;
beforeAll(async () => {
  world = await startSurroundings();
});
afterAll(() => world.close());

describe.each(PROXIES)("%s", (way) => {
  it("looks the receiver's name up itself", async () => {
    world.receiver.answer({});
    const proxy = world.proxies[way]!;
    const tlsProfile = "partner";
    const results = [
      await world
        .transport()
        .send(requestTo(`http://hooks.example.com:${world.receiver.port}/`, { proxy: proxy.url, tlsProfile })),
      await world
        .transport()
        .send(requestTo(`https://hooks.example.com:${world.tlsPort}/`, { proxy: proxy.url, tlsProfile })),
    ];
    expect(results).toMatchObject([{ statusCode: 200 }, { statusCode: 200 }]);
    expect(proxy.targets.at(-1)).toBe(`hooks.example.com:${world.tlsPort}`);
  });
  it("must be at an address that the webhook may go to", async () => {
    const proxy = world.proxies[way]!;
    const before = proxy.targets.length;
    const send = (url: string): Promise<TransportResult> =>
      world
        .transport({ deny: `127.0.0.1:${proxy.port} [::1]:${proxy.port}` })
        .send(requestTo(world.receiver.url, { proxy: url, tlsProfile: "partner" }));
    for (const url of [proxy.url, proxy.url.replace("127.0.0.1", "localhost")]) {
      expect(await send(url)).toMatchObject({ kind: "failure", errorClass: "blocked_address" });
    }
    expect(proxy.targets).toHaveLength(before);
  });
  it("is asked for no name that the operator's lists refuse, since nobody here will see its address", async () => {
    const proxy = world.proxies[way]!;
    const { port } = world.receiver;
    const allow = `127.0.0.1:${proxy.port}`;
    const own = {
      find: (_: unknown, name: string | null): string | null =>
        name === "hooks.example.com" ? "the source database" : null,
    };
    const send = (policy: Partial<AddressPolicy>): Promise<TransportResult> =>
      world
        .transport(policy)
        .send(requestTo(`http://hooks.example.com:${port}/`, { proxy: proxy.url, tlsProfile: "partner" }));
    const before = proxy.targets.length;
    for (const policy of [
      { deny: "hooks.example.com" },
      { deny: `*.example.com:${port}` },
      { mode: "allowlist", allow },
      { mode: "allowlist", allow: `${allow} hooks.example.com:1` },
      { own },
    ] as const) {
      expect(await send(policy)).toMatchObject({ kind: "failure", errorClass: "blocked_address" });
    }
    expect(proxy.targets).toHaveLength(before);
    world.receiver.answer({});
    for (const policy of [
      { mode: "allowlist", allow: `${allow} hooks.example.com:${port}` },
      // What the name resolves to is the proxy's to judge: here nobody knows that it is this machine.
      { mode: "public", allow },
    ] as const) {
      expect(await send(policy)).toMatchObject({ kind: "response", statusCode: 200 });
    }
  });
  it("that does not answer is told apart from a receiver that does not", async () => {
    const gone = world.proxies[way]!.url.replace(/\d+$/, "1");
    const result = await world.transport().send(requestTo(world.receiver.url, { proxy: gone, tlsProfile: "partner" }));
    expect(result).toMatchObject({ kind: "failure", errorClass: "proxy" });
    expect(result.kind === "failure" && result.message).toContain(`${gone}: `);
  });
});

describe("an HTTP proxy's target", () => {
  it.each([
    ["a path that looks like a host", "//169.254.169.254/latest", []],
    ["a path with a URL in it", "/http://169.254.169.254/latest?a=//b", []],
    ["a Host header", "/x", [["Host", "169.254.169.254"]]],
    ["a Host header with a port", "/x", [["host", "169.254.169.254:81"]]],
  ] as const)("is what was judged, whatever %s says", async (_, path, headers) => {
    for (const way of ["an HTTP proxy", "an HTTPS proxy"]) {
      const proxy = world.proxies[way]!;
      world.receiver.answer({});
      const url = `${world.receiver.url}${path}`;
      const route = { proxy: proxy.url, tlsProfile: "partner" };
      expect(await world.transport().send(requestTo(url, route, { headers }))).toMatchObject({ statusCode: 200 });
      expect(proxy.targets.at(-1)).toBe(url);
      expect(world.receiver.requests.at(-1)?.path).toBe(path);
    }
  });
});

describe("a proxy that does not pass the request on", () => {
  it.each([204, 403, 410, 502])("is not taken for the receiver when it answers CONNECT with %i", async (status) => {
    await using proxy = await startHttpProxy({ refuseWith: status });
    const result = await world
      .transport()
      .send(requestTo(`https://localhost:${world.tlsPort}/`, { proxy: proxy.url, tlsProfile: "partner" }));
    expect(result).toMatchObject({ kind: "failure", errorClass: "proxy" });
    expect(result.kind === "failure" && result.message).toContain(`HTTP ${status}`);
  });
  it("is told its credentials, which stand in the operator's environment, and never in a message", async () => {
    await using proxy = await startHttpProxy({ credentials: "me:s3cret", hosts: PROXY_HOSTS });
    const through = (credentials: string, url: string): Promise<TransportResult> => {
      const http_proxy = proxy.url.replace("//", `//${credentials}@`);
      return world
        .transport({}, { http_proxy, https_proxy: http_proxy })
        .send(requestTo(url, { tlsProfile: "partner" }));
    };
    world.receiver.answer({});
    for (const url of [
      `http://hooks.example.com:${world.receiver.port}/`,
      `https://hooks.example.com:${world.tlsPort}/`,
    ]) {
      expect(await through("me:s3cret", url)).toMatchObject({ kind: "response", statusCode: 200 });
      const refused = await through("me:wr0ng", url);
      expect(refused).toMatchObject({ kind: "failure", errorClass: "proxy" });
      expect(JSON.stringify(refused)).not.toContain("wr0ng");
    }
  });
});

describe("a proxy that never answers", () => {
  it.each(["http", "https", "socks5", "socks4"])(
    "leaves no connection behind after the deadline, by %s",
    async (scheme) => {
      const silent = createServer((socket) => void socket.on("error", () => {}).resume());
      await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
      const open = (): Promise<number> => new Promise((resolve) => silent.getConnections((_, count) => resolve(count)));
      const proxy = `${scheme}://127.0.0.1:${(silent.address() as AddressInfo).port}`;
      for (const url of [world.receiver.url, `https://localhost:${world.tlsPort}/`]) {
        const result = await world.transport().send(requestTo(url, { proxy }, { timeoutMs: 200 }));
        expect(result).toMatchObject({ kind: "failure", errorClass: "timeout" });
        expect(result.durationMs).toBeLessThan(2_000);
      }
      await eventually(async () => (await open()) === 0);
      silent.close();
    },
  );
});

describe("the environment's PAC file", () => {
  const pac = (answer: string): Record<string, string> => ({
    all_proxy: `pac+data:text/plain,${encodeURIComponent(`function FindProxyForURL(url, host) { return ${answer}; }`)}`,
  });
  it("chooses by host, and the next way where a proxy does not work", async () => {
    const proxy = world.proxies["an HTTP proxy"]!;
    const env = pac(
      `host === "hooks.example.com" ? "PROXY 127.0.0.1:1; PROXY 127.0.0.1:${proxy.port}; DIRECT" : "DIRECT"`,
    );
    world.receiver.answer({});
    expect(
      await world.transport({}, env).send(requestTo(`http://hooks.example.com:${world.receiver.port}/`, {})),
    ).toMatchObject({
      statusCode: 200,
    });
    expect(proxy.targets.at(-1)).toContain("hooks.example.com");
  });
  it("does not lead around the address guard", async () => {
    const env = pac(`"DIRECT"`);
    expect(await world.transport({}, env).send(requestTo("http://169.254.169.254/", {}))).toMatchObject({
      errorClass: "blocked_address",
    });
  });
  it.each([
    ["throws", "nothing()"],
    ["answers what nobody knows", `"CARRIER pigeon"`],
  ])("that %s is a failure of the proxy", async (_, answer) => {
    expect(await world.transport({}, pac(answer)).send(requestTo("http://hooks.example.com/", {}))).toMatchObject({
      kind: "failure",
      errorClass: "proxy",
    });
  });
});

describe("a TLS profile", () => {
  it.each([
    ["missing", "no missing.ca.pem"],
    ["half", "belong together"],
    ["broken", "no PEM certificates"],
    ["swapped", "the key does not belong"],
    ["../partner", "not a name"],
  ])("%s is a failure that says what is wrong", async (tlsProfile, words) => {
    const result = await world.transport().send(requestTo(world.receiver.url, { tlsProfile }));
    expect(result).toMatchObject({ kind: "failure", errorClass: "tls" });
    expect(result.kind === "failure" && result.message).toContain(words);
    expect(JSON.stringify(result)).not.toContain("secret text");
  });
});
