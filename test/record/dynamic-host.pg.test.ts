import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("hosts");
  await system.app("create table customer (id int primary key, tenant text)");
});
afterAll(() => system.drop());

describe("the host of a URL that a row decides", () => {
  it("stands in the log, and in no figure", async () => {
    const { host } = new URL(system.receiver.url);
    const dynamic = { is_dynamic_url: true, retry_schedule: "{}" };
    await system.webhook("tenant", "customer", "after_insert", {
      ...dynamic,
      request_url: "http://{{{doc.tenant}}}/tenant",
    });
    await system.webhook("path", "customer", "after_insert", {
      ...dynamic,
      request_url: `${system.receiver.url}/path/{{doc.tenant}}`,
    });
    await system.startBridge();
    await system.app("insert into customer values (1, $1), (2, '127.0.0.1:9')", [host]);
    await system.settled();
    expect(
      await system.look(
        "select distinct substring(url from '//([^/]+)') as host from walhook.webhook_request_log order by 1",
      ),
    ).toHaveLength(2);
    const counted =
      "select webhook, host, outcome, sum(log_rows)::int as rows from walhook.webhook_rollup group by 1, 2, 3 order by 1, 3";
    expect(await system.look(counted)).toEqual([
      { webhook: "path", host, outcome: "delivered", rows: 2 },
      { webhook: "tenant", host: "(dynamic)", outcome: "dead", rows: 1 },
      { webhook: "tenant", host: "(dynamic)", outcome: "delivered", rows: 1 },
    ]);
    expect(await system.look("select webhook, host from walhook.failing_endpoint")).toEqual([
      { webhook: "tenant", host: "(dynamic)" },
    ]);
  });
});
