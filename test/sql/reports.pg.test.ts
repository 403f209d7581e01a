import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { refusal } from "./watched-database.ts";

/** Log rows of one hour, 100 a second, by COPY's shape: 40 webhooks, 50,000 documents, each 17th failed first. */
const ROWS = 360_000;
let system: System;
const monitor = `monitor_${randomBytes(4).toString("hex")}`;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;
beforeAll(async () => {
  system = await startSystem("reports");
  await system.look(
    `create role ${monitor} login in role walhook_monitor; create role ${analyst} login in role walhook_analyst`,
  );
  await system.app("create table orders (id int primary key)");
  await system.webhook("w1", "orders", "after_insert");
  await system.look(`
    insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome,
      status_code, duration_ms, error_class, error, lsn, xid, commit_time, url, request_body, request_bytes)
    select date_trunc('day', now(), 'UTC') + n * interval '1 ms', 'msg_' || lpad(m::text, 12, '0'), 1 + (n % 17 = 1)::int, m % 40, 'w' || m % 40,
      'orders', (m % 50000)::text, 'on_update', 'live', case when n % 17 = 0 then 'retry' else 'delivered' end,
      case when n % 17 = 0 then 503 else 200 end, 1 + n % 100, case when n % 17 = 0 then 'http_status' end, case when n % 17 = 0 then 'HTTP 503' end,
      '0/1000000'::pg_lsn + m, m, date_trunc('day', now(), 'UTC') + m * interval '1 ms' - interval '2 ms', 'https://h' || n % 40 || '/x', '{"n":1}', 7
      from generate_series(2, ${ROWS}) n, lateral (select n - (n % 17 = 1)::int as m) first;
    analyze walhook.webhook_request_log`);
}, 120_000);
afterAll(() => system.drop());

const LOG = /Seq Scan on webhook_request_log/;
async function plan(sql: string): Promise<string> {
  const rows = await system.look(`explain ${sql}`);
  return rows.map((row) => row["QUERY PLAN"]).join("\n");
}
/** The partition that holds the rows; empty ones are read whole, which costs nothing. */
async function readsWhole(sql: string): Promise<boolean> {
  const day = (await system.look("select to_char(now() at time zone 'UTC', 'YYYYMMDD') as day"))[0]!["day"] as string;
  return (await plan(sql)).includes(`Seq Scan on webhook_request_log_${day}`);
}

describe("the log", () => {
  it.each([
    [
      "a document",
      "select * from walhook.webhook_request_log where doctype = 'orders' and docname = '77' order by sent_at",
    ],
    ["a document, attempts folded in", "select * from walhook.delivery where doctype = 'orders' and docname = '77'"],
    ["a delivery", "select * from walhook.webhook_request_log where delivery_id = 'msg_000000000017'"],
    ["a delivery, attempts folded in", "select * from walhook.delivery where delivery_id = 'msg_000000000017'"],
    [
      "a webhook with a range of time",
      `select * from walhook.webhook_request_log where webhook = 'w7'
        and sent_at between date_trunc('day', now(), 'UTC') + interval '60 s' and date_trunc('day', now(), 'UTC') + interval '70 s'`,
    ],
    [
      "a webhook with a range of LSN",
      "select * from walhook.webhook_request_log where webhook = 'w7' and lsn between '0/1010000' and '0/1012000'",
    ],
    [
      "deliveries of a range of LSN",
      "select * from walhook.delivery where webhook = 'w7' and lsn between '0/1010000' and '0/1012000'",
    ],
  ])("is not read from end to end for %s", async (_, sql) => {
    expect(await readsWhole(sql)).toBe(false);
    expect((await system.look(sql)).length).toBeGreaterThan(0);
  });

  it("is read from end to end by whoever asks for everything: the test above would notice", async () => {
    expect(await readsWhole("select count(*) from walhook.webhook_request_log where error = 'x'")).toBe(true);
  });
});

describe("walhook.delivery", () => {
  it("folds attempts into one row, whose outcome is the last one's", async () => {
    const sql =
      "select attempts, outcome, status_code, error, receipt_ms > 0 as is_later from walhook.delivery where delivery_id = 'msg_000000000017'";
    expect((await system.db.queryAs(analyst, sql)).rows).toEqual([
      { attempts: 2, outcome: "delivered", status_code: 200, error: null, is_later: true },
    ]);
  });
});

describe("reports of the rollup", () => {
  beforeAll(async () => {
    // As the bridge would have counted it.
    const { readFile } = await import("node:fs/promises");
    await system.look("delete from walhook.migration where version = 140");
    await system.look(await readFile(new URL("../../sql/140_rollup.sql", import.meta.url), "utf8"));
    await system.look("analyze walhook.rollup_minute");
  }, 60_000);

  it("read neither the log nor more of the rollup than the time that is asked for", async () => {
    for (const sql of [
      "select * from walhook.webhook_hour",
      "select * from walhook.failing_endpoint",
      "select * from walhook.top_error",
      "select * from walhook.webhook_rollup where webhook_id = 7 and minute > now() - interval '1 hour'",
    ]) {
      expect(await plan(sql)).not.toMatch(LOG);
    }
    await system.look(`
      insert into walhook.rollup_minute (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
        duration_buckets, duration_counts, receipt_buckets, receipt_counts)
      select date_trunc('minute', now()) - interval '20 days' - n * interval '1 minute', w, 'w', 'delivered', '', 'h', 2, 0, '{1,2}', '{1,1}', '{}', '{}'
        from generate_series(1, 4000) n, generate_series(1, 20) w; analyze walhook.rollup_minute`);
    const narrow = "select * from walhook.webhook_rollup where minute >= now() - interval '2 hours'";
    expect(await plan(narrow)).not.toContain("Seq Scan on rollup_minute");
    expect(await plan("select * from walhook.top_error")).not.toContain("Seq Scan on rollup_minute");
  });

  it("are the log's figures: counts exactly, percentiles within 1 %", async () => {
    const start = "date_trunc('day', now(), 'UTC')";
    const exact = await system.look(`
      select webhook_id, count(*)::int as attempts, count(*) filter (where outcome = 'delivered')::int as delivered,
             percentile_disc('{0.5,0.95,0.99}'::float8[]) within group (order by duration_ms) as p
        from walhook.webhook_request_log group by 1 order by 1`);
    const { rows } = await system.db.queryAs(
      monitor,
      `select webhook_id, attempts::int, delivered::int, array[p50_ms, p95_ms, p99_ms]::float8[] as p
         from walhook.webhook_hours(${start}, ${start} + interval '1 hour') order by 1`,
    );
    expect(rows).toHaveLength(40);
    rows.forEach(({ p, ...counts }: { p: number[] }, i) => {
      expect(counts).toEqual({
        webhook_id: exact[i]!["webhook_id"],
        attempts: exact[i]!["attempts"],
        delivered: exact[i]!["delivered"],
      });
      p.forEach((value, k) => {
        const of = (exact[i]!["p"] as number[])[k]!;
        expect(Math.abs(value - of)).toBeLessThanOrEqual(of * 0.01 + 0.001);
      });
    });
  });

  it("are of one webhook where one is named, also of one that was deleted; who misspells a name is told", async () => {
    const hours = async (name: string) => {
      const start = "date_trunc('day', now(), 'UTC')";
      const sql = `select webhook_id, webhook, attempts::int from walhook.webhook_hours(${start}, ${start} + interval '1 hour', '${name}')`;
      return (await system.db.queryAs(monitor, sql)).rows;
    };
    const counted = async (number: number) =>
      (
        await system.look(`select count(*)::int as n from walhook.webhook_request_log where webhook_id = ${number}`)
      )[0]!["n"];
    expect(await hours("w1")).toEqual([{ webhook_id: 1, webhook: "w1", attempts: await counted(1) }]);
    expect(await hours("w7")).toEqual([{ webhook_id: 7, webhook: "w7", attempts: await counted(7) }]);
    const { message, hint } = await refusal(hours("w1 "));
    expect(message).toBe('there is no webhook "w1 ", and nothing was counted of one');
    expect(hint).toContain("walhook.status");
  });

  it("name what fails, to who watches", async () => {
    await system.look(
      "update walhook.rollup_minute set minute = now() - interval '1 hour' where webhook_id = 34 and minute = (select max(minute) from walhook.rollup_minute where webhook_id = 34)",
    );
    const failing = await system.db.queryAs(
      monitor,
      "select host, error_class from walhook.failing_endpoint where webhook_id = 34",
    );
    expect(failing.rows).toEqual([{ host: "h34", error_class: "http_status" }]);
    const top = await system.db.queryAs(
      monitor,
      "select outcome, error_class from walhook.top_error where webhook_id = 34",
    );
    expect(top.rows).toEqual([{ outcome: "retry", error_class: "http_status" }]);
  });

  it("show documents to the analyst alone", async () => {
    await system.db.queryAs(analyst, "select docname, url from walhook.slowest");
    for (const view of ["walhook.slowest", "walhook.delivery"]) {
      await expect(system.db.queryAs(monitor, `select from ${view}`)).rejects.toMatchObject({ code: "42501" });
      await expect(system.admin(`select from ${view}`)).rejects.toMatchObject({ code: "42501" });
    }
  });
});
