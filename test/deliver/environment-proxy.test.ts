import { describe, expect, it } from "vitest";
import { environmentProxy, namesProxy } from "../../src/deliver/environment-proxy.ts";

const ask = (url: string, env: Readonly<Record<string, string>>): string | null => environmentProxy(new URL(url), env);
const ALL = { all_proxy: "http://proxy:3128" };
const through = (url: string, no_proxy: string): boolean => ask(url, { ...ALL, no_proxy }) !== null;

describe("the environment's proxy", () => {
  it("is that of the URL's scheme, else the one for all", () => {
    const env = { http_proxy: "http://a:1", HTTPS_PROXY: "socks5://b:2" };
    expect(ask("http://x.example/", env)).toBe("http://a:1");
    expect(ask("https://x.example/", env)).toBe("socks5://b:2");
    expect(ask("https://x.example/", { http_proxy: "http://a:1" })).toBeNull();
    expect(ask("https://x.example/", { ...ALL, http_proxy: "http://a:1" })).toBe("http://proxy:3128");
  });
  it("is an http one where it has no scheme, and a PAC file where it says so", () => {
    expect(ask("https://x.example/", { https_proxy: "proxy:3128" })).toBe("http://proxy:3128");
    expect(ask("https://x.example/", { https_proxy: "pac+data:text/plain,x" })).toBe("pac+data:text/plain,x");
  });
  it("small letters win over capitals, and empty ones count as not there", () => {
    expect(ask("http://x.example/", { http_proxy: "http://small:1", HTTP_PROXY: "http://BIG:1" })).toBe(
      "http://small:1",
    );
    expect(namesProxy({ http_proxy: "", HTTPS_PROXY: "" })).toBe(false);
    expect(namesProxy({ ALL_PROXY: "http://a:1" })).toBe(true);
  });
  it.each([
    "http://localhost:8080/",
    "http://127.0.0.1/",
    "https://127.9.9.9/",
    "http://[::1]:1/",
    "http://a.localhost/",
  ])("is not for this machine: %s", (url) => {
    expect(ask(url, ALL)).toBeNull();
  });
});

describe("no_proxy", () => {
  it.each([
    ["*", "http://x.example/", false],
    ["x.example", "http://x.example/", false],
    ["x.example", "http://a.x.example/", false],
    ["x.example", "http://ax.example/", true],
    [".x.example", "http://a.x.example/", false],
    [".x.example", "http://x.example/", true],
    ["*.x.example", "http://a.b.x.example/", false],
    ["X.Example", "http://x.EXAMPLE./", false],
    ["x.example:8080", "http://x.example:8080/", false],
    ["x.example:8080", "http://x.example/", true],
    ["x.example:443", "https://x.example/", false],
    ["a.example, b.example c.example", "http://c.example/", false],
    ["10.0.0.0/8", "http://10.1.2.3/", false],
    ["10.0.0.0/8", "http://0x0a010203/", false],
    ["10.0.0.0/8", "http://11.0.0.1/", true],
    ["10.1.2.3:80", "http://10.1.2.3/", false],
    ["fd00::/8", "http://[fd00::1]/", false],
    ["[fd00::1]", "http://[fd00::1]/", false],
    ["0.0.0.1", "http://x.example/", true],
    ["", "http://x.example/", true],
  ])("%s, %s: through the proxy %s", (list, url, expected) => {
    expect(through(url, list)).toBe(expected);
  });
});
