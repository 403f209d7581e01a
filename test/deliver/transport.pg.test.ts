import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startHttpProxy } from "../support/proxy.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("transport");
  await system.app("create table orders (id int primary key)");
});
afterEach(() => system.drop());

describe("a webhook's proxy", () => {
  it("is what its requests go through, from the change on, and another webhook's do not", async () => {
    await using proxy = await startHttpProxy();
    await system.webhook("proxied", "orders", "after_insert", { proxy: proxy.url });
    await system.webhook("straight", "orders", "after_insert");
    await system.startBridge();
    await system.app("insert into orders values (1)");
    await system.settled();
    expect(system.received("proxied")).toHaveLength(1);
    expect(system.received("straight")).toHaveLength(1);
    expect(proxy.targets).toEqual([`${system.receiver.url}/proxied`]);
    await system.admin("update walhook.webhook set proxy = 'direct'");
    await system.app("insert into orders values (2)");
    await system.settled();
    expect(proxy.targets).toHaveLength(1);
  });

  it("that is down is a failure like others: logged with its class, tried again, delivered when mended", async () => {
    await system.webhook("w", "orders", "after_insert", { proxy: "http://127.0.0.1:1" });
    await system.startBridge({ retryScheduleMs: Array.from({ length: 50 }, () => 250) });
    await system.app("insert into orders values (1)");
    const failed = () =>
      system.look("select outcome, error from walhook.webhook_request_log where error_class = 'proxy'");
    await eventually(async () => (await failed()).length > 0);
    expect((await failed())[0]).toMatchObject({
      outcome: "retry",
      error: expect.stringMatching(/^proxy http:\/\/127\.0\.0\.1:1: connect ECONNREFUSED/),
    });
    await system.admin("update walhook.webhook set proxy = null");
    await eventually(() => system.received("w").length === 1, { withinMs: 15_000 });
  });
});

describe("what a webhook says of its transport", () => {
  it.each([
    ["proxy", "'ftp://proxy:21'", "is no URL of a proxy"],
    ["proxy", "'pac+http://proxy/file.pac'", "is no URL of a proxy"],
    ["proxy", "'http://me:secret@proxy:3128'", "is no URL of a proxy"],
    ["proxy", "'http://proxy/path'", "is no URL of a proxy"],
    ["proxy", "''", "is no URL of a proxy"],
    ["tls_profile", "'../etc'", "is no name"],
    ["tls_profile", "''", "is no name"],
    ["tls_min_version", "'1.1'", "tls_min_version is"],
  ])("is refused where %s is %s", async (column, value, words) => {
    await system.webhook("w", "orders", "after_insert");
    await expect(system.admin(`update walhook.webhook set ${column} = ${value}`)).rejects.toMatchObject({
      message: expect.stringContaining(words),
      hint: expect.any(String),
    });
  });
  it.each(["http://proxy:3128", "https://proxy", "socks5h://[fd00::1]:1080/", "socks4a://10.0.0.1:1080", "direct"])(
    "may be the proxy %s",
    async (proxy) => {
      await system.webhook("w", "orders", "after_insert", { proxy });
      expect(await system.look("select proxy from walhook.webhook")).toEqual([{ proxy }]);
    },
  );
  it("names certificates that the operator has, or its deliveries wait and say why", async () => {
    await system.webhook("w", "orders", "after_insert", { tls_profile: "partner", tls_min_version: "1.3" });
    await system.startBridge();
    await system.app("insert into orders values (1)");
    await eventually(async () => (await system.look("select from walhook.webhook_request_log")).length === 1);
    expect(await system.look("select outcome, error_class, error from walhook.webhook_request_log")).toEqual([
      {
        outcome: "retry",
        error_class: "tls",
        error: 'tls_profile "partner": the operator has set no WALHOOK_TLS_DIRECTORY',
      },
    ]);
  });
});
