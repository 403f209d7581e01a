import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("retention");
  await system.app("create table orders (id int primary key)");
  await system.webhook("w", "orders", "after_insert");
});
afterAll(() => system.drop());

const asBridge = async (sql: string): Promise<unknown> => {
  const { rows } = await system.db.queryAs(system.roles.bridge, sql);
  return (rows[0] as { said: unknown }).said;
};
/** So many days ago, UTC, as a partition is called. */
const dayAgo = (days: number): string =>
  new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10).replaceAll("-", "");
const partition = (days: number): string => `webhook_request_log_${dayAgo(days)}`;

async function oldPartition(days: number, rows = 3): Promise<void> {
  await system.look(`set timezone = 'UTC';
    create table walhook.${partition(days)} partition of walhook.webhook_request_log for values from ('${dayAgo(days)}') to ('${dayAgo(days)}'::timestamptz + interval '1 day');
    alter table walhook.${partition(days)} owner to walhook_owner;
    insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome,
        request_body, response_body, request_bytes, body_kept, error, lsn)
      select '${dayAgo(days)} 12:00Z'::timestamptz + n * interval '1 s', 'msg_${days}_' || n, n % 2, 1, 'w', 'orders', n, 'after_insert', 'live',
        case when n % 2 = 1 then 'delivered' else 'error' end, case when n % 2 = 1 then repeat('x', 1000) end, 'ok', case when n % 2 = 1 then 1000 end,
        case when n % 2 = 1 then 'whole' end, case when n % 2 = 0 then 'why' end, '0/1'::pg_lsn + n from generate_series(1, ${rows}) n`);
}
const rowsOf = (days: number): Promise<readonly Record<string, unknown>[]> =>
  system.look(
    `select docname, request_body, response_body, body_kept, error from walhook.${partition(days)} order by sent_at`,
  );

describe("bodies", () => {
  it("are taken out of days past their time, whose rows and indexes stay; the space is given back", async () => {
    await oldPartition(20, 2000);
    await oldPartition(3);
    const size = async () =>
      Number((await system.look(`select pg_total_relation_size('walhook.${partition(20)}') as n`))[0]!["n"]);
    const before = await size();
    const indexes = async () =>
      (
        await system.look(
          `select pg_get_indexdef(indexrelid) as def from pg_index where indrelid = 'walhook.${partition(20)}'::regclass`,
        )
      ).length;
    const had = await indexes();
    expect(await asBridge("select walhook.thin_log_partition('14 days') as said")).toBe(
      `took the bodies out of ${partition(20)}`,
    );
    expect(await asBridge("select walhook.thin_log_partition('14 days') as said")).toBe("");
    expect(await size()).toBeLessThan(before / 2);
    expect(await indexes()).toBe(had);
    expect((await rowsOf(20)).slice(0, 2)).toEqual([
      { docname: "1", request_body: null, response_body: null, body_kept: "none", error: null },
      { docname: "2", request_body: null, response_body: null, body_kept: null, error: "why" },
    ]);
    expect(await rowsOf(20)).toHaveLength(2000);
    expect((await rowsOf(3))[0]).toMatchObject({ body_kept: "whole" });
    const plan = await system.look(
      "explain select from walhook.webhook_request_log where doctype = 'orders' and docname = '7'",
    );
    expect(JSON.stringify(plan)).toContain(`Index`);
    expect(await system.look(`select tableowner::text from pg_tables where tablename = '${partition(20)}'`)).toEqual([
      { tableowner: "walhook_owner" },
    ]);
  });

  it("stay where somebody reads that day, until the next round; nobody who writes waits for them", async () => {
    await oldPartition(21);
    const analyst = await system.db.connect();
    await analyst.query("begin; select count(*) from walhook.webhook_request_log");
    expect(await asBridge("select walhook.thin_log_partition('14 days') as said")).toBe(
      `${partition(21)} in use, its bodies stay until the next round`,
    );
    await analyst.query("rollback");
    expect((await rowsOf(21))[0]).toMatchObject({ body_kept: "whole" });
    expect(await asBridge("select walhook.thin_log_partition('14 days') as said")).toBe(
      `took the bodies out of ${partition(21)}`,
    );
  });
});

describe("the log's size", () => {
  it("takes the oldest days with it, and says where the present day alone is too much", async () => {
    expect(await asBridge("select walhook.drop_log_partitions('30 days', 1) as said")).toBe(
      "dropped 3; the log of today is larger than all may be, see log_request_bytes",
    );
  });
});

describe("the bridge", () => {
  it("keeps all that by itself, and an analyst who leaves a transaction open over the change of partitions delays no delivery", async () => {
    await oldPartition(40);
    await oldPartition(20);
    await system.look(`insert into walhook.rollup_minute (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
      duration_buckets, duration_counts, receipt_buckets, receipt_counts) values (now() - interval '100 days', 1, 'w', 'delivered', '', '', 1, 0, '{}', '{}', '{}', '{}')`);
    const analyst = await system.db.connect();
    await analyst.query("begin; select count(*) from walhook.webhook_request_log");
    await using _ = await system.startBridge();
    // While the bridge tries and fails to drop and to thin, documents flow.
    const late: number[] = [];
    for (let n = 1; n <= 40; n++) {
      const at = performance.now();
      await system.app("insert into orders values ($1)", [n]);
      await eventually(() => system.received("w").length === n, { everyMs: 2 });
      late.push(performance.now() - at);
    }
    const maintenance = async (): Promise<string> =>
      String((await system.look("select maintenance from walhook.bridge"))[0]!["maintenance"]);
    await eventually(async () => (await maintenance()).includes("in use, the next round tries again"));
    expect(await maintenance()).toMatch(/webhook_request_log_\d+ in use, its bodies stay until the next round/);
    // 100 ms for each lock that it tries, and what a loaded machine adds; behind the analyst it would be for ever.
    expect(Math.max(...late)).toBeLessThan(3_000);
    await system.caughtUp();
    expect(
      await system.look(
        "select count(*)::int as n from walhook.webhook_request_log where docevent = 'after_insert' and webhook = 'w' and sent_at > now() - interval '1 hour'",
      ),
    ).toEqual([{ n: 40 }]);
    await analyst.query("rollback");
    await _.stop();
    await using again = await system.startBridge();
    await eventually(async () => (await maintenance()).includes(`dropped 1; took the bodies out of ${partition(20)}`));
    expect(await system.look("select from walhook.rollup_minute where minute < now() - interval '99 days'")).toEqual(
      [],
    );
    await again.stop();
  });
});
