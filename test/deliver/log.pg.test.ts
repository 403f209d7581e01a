import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("log");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const FAST = { retryScheduleMs: [50] };
const log = (columns: string): Promise<readonly Record<string, unknown>[]> =>
  system.look(`select ${columns} from walhook.webhook_request_log order by webhook, sent_at, delivery_id`);

describe("the log", () => {
  it("tells of an attempt how long each step took, where it led, what signed it, and why it failed", async () => {
    await system.webhook("a", "orders", "after_insert", { enable_security: true, webhook_secret: "one" });
    const url = `http://localhost:${system.receiver.port}/b`;
    await system.webhook("b", "orders", "after_insert", { request_url: url });
    await system.webhook("c", "orders", "after_insert", { request_url: "http://127.0.0.1:1/" });
    await system.admin("select walhook.add_secret('a', 'two')");
    system.receiver.answer(({ path }) => ({ status: path === "/b" ? 503 : 200 }));
    await system.startBridge({ retryScheduleMs: [] });
    await system.app("insert into orders values (1, 'n')");
    await system.settled();
    const ids = await system.look("select array_agg(id::text order by id) as ids from walhook.signing_key");
    expect(
      await log(`webhook, error_class, host(remote_address) as address, key_ids, dns_ms > 0 as dns, connect_ms > 0 as connect,
        tls_ms, first_byte_ms between connect_ms and duration_ms as first, request_bytes = octet_length(request_body) as bytes, body_kept`),
    ).toEqual([
      { webhook: "a", error_class: null, address: "127.0.0.1", key_ids: ids[0]!["ids"], dns: null, ...SENT },
      { webhook: "b", error_class: "http_status", address: "127.0.0.1", key_ids: [], dns: true, ...SENT },
      {
        webhook: "c",
        error_class: "connect",
        key_ids: [],
        dns: null,
        ...SENT,
        address: null,
        connect: null,
        first: null,
      },
    ]);
  });

  it("keeps of bodies as much as the webhook says, though all of them are sent, also after a retry", async () => {
    await system.webhook("w", "orders", "after_insert", { log_request_bytes: 0, log_response_bytes: 2 });
    let failures = 1;
    system.receiver.answer(() => ({ status: failures-- > 0 ? 500 : 200, body: "received" }));
    await system.startBridge(FAST);
    await system.app("insert into orders values (1, 'confidential')");
    await eventually(() => system.received("w").length === 2);
    await system.settled();
    expect(new Set(system.received("w").map(({ body }) => body.toString())).size).toBe(1);
    expect(await log("outcome, request_body, response_body, body_kept, request_bytes > 100 as has_size")).toEqual([
      { outcome: "retry", request_body: null, response_body: "re", body_kept: "none", has_size: true },
      { outcome: "delivered", request_body: null, response_body: "re", body_kept: "none", has_size: true },
    ]);
  });
});

const SENT = { connect: true, tls_ms: null, first: true, bytes: true, body_kept: "whole" };
