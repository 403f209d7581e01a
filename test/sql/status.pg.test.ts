import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
const monitor = `monitor_${randomBytes(4).toString("hex")}`;
beforeAll(async () => {
  system = await startSystem("status");
  await system.look(`create role ${monitor} login in role walhook_monitor`);
  await system.app("create table orders (id int primary key)");
  await system.webhook("good", "orders", "after_insert");
  await system.webhook("bad", "orders", "after_insert", {
    request_url: "http://127.0.0.1:9/",
    retry_schedule: "{1 h}",
  });
  await system.webhook("dead", "orders", "after_insert", { request_url: "http://127.0.0.1:9/", retry_schedule: "{}" });
});
afterAll(async () => {
  await system.drop();
});

const one = async (sql: string, role = monitor): Promise<Record<string, unknown>> =>
  (await system.db.queryAs(role, sql)).rows[0] as Record<string, unknown>;
const status = (webhook: string): Promise<Record<string, unknown>> =>
  one(`select *, next_attempt_at > now() as is_later from walhook.status where webhook = '${webhook}'`);

describe("walhook.status", () => {
  it("says of each webhook how it does and what waits, to who watches", async () => {
    await using _ = await system.startBridge();
    await system.app("insert into orders select generate_series(1, 20)");
    await eventually(async () => Number((await status("dead"))["dead_letters"]) === 20, { withinMs: 30_000 });
    await system.caughtUp();
    expect(await status("good")).toMatchObject({
      enabled: true,
      health: "ok",
      breaker: "closed",
      attempts: "20",
      success_percent: "100.00",
      queue_depth: "0",
      dead_letters: "0",
      oldest_age: null,
      next_attempt_at: null,
    });
    const { p50_ms: p50, p95_ms: p95, p99_ms: p99 } = await status("good");
    expect([Number(p50) > 0, Number(p95) >= Number(p50), Number(p99) >= Number(p95)]).toEqual([true, true, true]);
    const bad = await status("bad");
    expect(bad).toMatchObject({ success_percent: "0.00", queue_depth: "20", dead_letters: "0" });
    expect(bad["oldest_age"]).not.toBeNull();
    expect(bad["next_attempt_at"]).not.toBeNull();
  });

  it("shows words of errors, which may quote a row, only to who may read them", async () => {
    const sql = "select last_failure from walhook.status where webhook = 'bad'";
    await system.look("revoke select on walhook.webhook_state from walhook_monitor");
    await eventually(async () => (await one(sql, "postgres"))["last_failure"] !== null);
    expect(await one(sql)).toEqual({ last_failure: null });
  });

  it("reads no minutes from end to end, and the queue once for all webhooks", async () => {
    await system.look(`
      insert into walhook.rollup_minute (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
        duration_buckets, duration_counts, receipt_buckets, receipt_counts)
      select date_trunc('minute', now()) - n * interval '1 minute', w, 'w', 'delivered', '', 'h', 2, 0, '{1,2}', '{1,1}', '{}', '{}'
        from generate_series(100, 2099) n, generate_series(1000, 1049) w;
      insert into walhook.webhook_queue (delivery_id, webhook_id, webhook, kind, doctype, docname, docevent, source, commit_lsn, change_lsn,
        change_index, event_number, xid, commit_time, due_at, is_dead)
      select 'msg_' || n, 1000 + n % 50, 'w', 'request', 'orders', n, 'after_insert', 'live', '0/1', '0/1', n, 1, 1, now(),
        case when n % 3 = 0 then now() end, n % 3 = 1 from generate_series(1, 20000) n;
      analyze walhook.rollup_minute; analyze walhook.webhook_queue`);
    for (const where of ["", " where webhook = 'good'"]) {
      const rows = await system.look(
        `explain select webhook_id, p99_ms, queue_depth, next_attempt_at from walhook.status${where}`,
      );
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(plan).not.toMatch(/Seq Scan on rollup_minute/);
      // For each webhook by itself the planner would read it whole, where one of them has nearly all of it.
      expect(plan.match(/Scan on webhook_queue/g) ?? []).toHaveLength(1);
    }
    await system.look(
      "delete from walhook.webhook_queue where webhook_id >= 1000; delete from walhook.rollup_minute where webhook_id >= 1000",
    );
  });
});

describe("a webhook that is paused", () => {
  it("is shown as such", async () => {
    await system.admin("select walhook.pause('good')");
    expect(await one("select paused, enabled from walhook.status where webhook = 'good'")).toEqual({
      paused: true,
      enabled: true,
    });
    expect(await one("select paused from walhook.status where webhook = 'bad'")).toEqual({ paused: false });
    await system.admin("select walhook.resume('good')");
  });
});

describe("walhook.bridge_status", () => {
  it("says how bridge and slot do", async () => {
    {
      await using _ = await system.startBridge();
      await system.app("insert into orders values (100)");
      await system.caughtUp();
      const row = await one("select * from walhook.bridge_status");
      expect(row).toMatchObject({
        state: "running",
        slot_health: "ok",
        slot_active: true,
        lag_seconds: "0",
        gap_kind: null,
      });
      expect(Number(row["retained_wal_bytes"])).toBeGreaterThan(0);
      const age = await one("select now() - last_change_at < interval '1 minute' as is_new from walhook.bridge_status");
      expect(age).toEqual({ is_new: true });
    }
    expect(await one("select state, slot_health from walhook.bridge_status")).toEqual({
      state: "stopped",
      slot_health: "nobody reads it",
    });
    await system.look("select pg_logical_emit_message(true, 'x', repeat('y', 100000)) from generate_series(1, 20)");
    expect(
      await one("select lag_bytes > 1048576 as behind, lag_seconds >= 0 as late from walhook.bridge_status"),
    ).toEqual({
      behind: true,
      late: true,
    });
    await system.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    expect(await one("select slot_health from walhook.bridge_status")).toEqual({ slot_health: "missing" });
  });
});

describe("walhook.log_figures", () => {
  it("has nothing of a row: no name of a document, URL, header, body or word of an error", async () => {
    const [{ columns }] = (await system.look(
      "select array_agg(attname::text order by attnum) as columns from pg_attribute where attrelid = 'walhook.log_figures'::regclass and attnum > 0",
    )) as [{ columns: string[] }];
    const known =
      "sent_at delivery_id attempt request_id webhook_id webhook doctype docevent source outcome status_code duration_ms " +
      "dns_ms connect_ms tls_ms first_byte_ms error_class lsn xid commit_time method key_ids request_bytes body_kept";
    expect(columns).toEqual(known.split(" "));
    expect(Number((await one("select count(*) as n from walhook.log_figures"))["n"])).toBeGreaterThan(0);
  });
});
