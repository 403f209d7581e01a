import { describe, expect, it } from "vitest";
import { countedHost } from "../../src/deliver/counted-host.ts";
import { webhook } from "../render/changes.ts";

const of = (requestUrl: string, url: string, isDynamicUrl = true): string =>
  countedHost(webhook({ requestUrl, isDynamicUrl }), url, isDynamicUrl ? url : null);

describe("the host under which an attempt is counted", () => {
  it("is that of a URL which is the webhook's own, in lower case, without user and password", () => {
    expect(of("https://Example.com:8443/a?b", "https://user:***@Example.com:8443/a?b", false)).toBe("example.com:8443");
    expect(of("http://[::1]:9", "http://[::1]:9", false)).toBe("[::1]:9");
  });

  it.each([
    ["https://example.com/{{doc.id}}", "https://example.com/7"],
    [" HTTPS://Example.com:443?id={{doc.id}}", "https://example.com/?id=7"],
    ["https://user:word@example.com#{{doc.id}}", "https://example.com/#7"],
    ["https://example.com/{{doc.a}}//{{doc.b}}", "https://example.com/x//y"],
  ])("is told where %s begins with it", (template, url) => {
    expect(of(template, url)).toBe("example.com");
  });

  it.each([
    ["https://{{doc.tenant}}.example.com/", "https://acme.example.com/"],
    ["https://example.com:{{doc.port}}/", "https://example.com:81/"],
    ["https://example.com{{doc.path}}", "https://example.com.evil.org/"],
    ["https://{{doc.user}}@example.com/", "https://example.com/"],
    ["https://{{#doc.a}}a{{/doc.a}}.org/x", "https://a.org/x"],
    ["{{{doc.url}}}", "https://acme.org/hook"],
    ["https:{{{doc.url}}}", "https://acme.org/hook"],
    ["https:///{{doc.host}}/", "https://acme.org/"],
    ["https://example.com\\{{doc.x}}", "https://example.com/y"],
  ])("is (dynamic) where a row may decide it: %s", (template, url) => {
    expect(of(template, url)).toBe("(dynamic)");
  });

  it("is (dynamic) for what was rendered before the URL was changed, unless it goes to the same host", () => {
    const now = webhook({ requestUrl: "https://example.com/in", isDynamicUrl: false });
    expect(countedHost(now, "https://acme.org/hook", "https://acme.org/hook")).toBe("(dynamic)");
    expect(countedHost(now, "https://example.com/7", "https://example.com/7")).toBe("example.com");
  });
});
