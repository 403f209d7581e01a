import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fillLog } from "./large-log.ts";
import { watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

/**
 * `WALHOOK_REPORT_ROWS=10000000 npx vitest run test/sql/report-times.pg.test.ts` measures what docs/watching.md promises, on a log of 30
 * days and a rollup of 90; by default the same is asked of a small one. No time is asserted, but what is read.
 */
const ROWS = Number(process.env["WALHOOK_REPORT_ROWS"] ?? 60_000);
const IS_LARGE = ROWS >= 1_000_000;
const [DAYS, WEBHOOKS] = IS_LARGE ? [30, 50] : [2, 5];
const FILL_MS = 60_000 + ROWS / 5;

let watched: WatchedDatabase;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;
const times: { readonly question: string; readonly ms: number; readonly rows: number }[] = [];

beforeAll(async () => {
  watched = await watchedDatabase("report_times");
  await watched.rows(`create role ${analyst} login in role walhook_analyst`);
  await watched.app.query("create table orders (id int primary key)");
  for (let n = 0; n < WEBHOOKS; n++) await watched.webhook(`w${n}`, "orders", "on_update");
  const webhooks = (await watched.rows("select id, name from walhook.webhook order by id")) as {
    id: number;
    name: string;
  }[];
  await fillLog(watched.db, {
    rows: ROWS,
    days: DAYS,
    webhooks,
    documents: Math.ceil(ROWS / 20),
    rollupTimes: IS_LARGE ? 3 : 2,
  });
}, FILL_MS);
afterAll(async () => {
  const size = (
    await watched.rows(`
    select pg_size_pretty(sum(pg_total_relation_size(i.inhrelid))) as log, pg_size_pretty(pg_total_relation_size('walhook.rollup_minute')) as minutes,
           pg_size_pretty(pg_total_relation_size('walhook.rollup_hour')) as hours, pg_size_pretty(pg_total_relation_size('walhook.hour_figures')) as figures,
           (select count(*) from walhook.hour_figures) as finished
      from pg_inherits i where i.inhparent = 'walhook.webhook_request_log'::regclass`)
  )[0]!;
  const lines = times.map(
    ({ question, ms, rows }) => `${ms.toFixed(1).padStart(8)} ms ${String(rows).padStart(7)} rows  ${question}`,
  );
  if (IS_LARGE)
    process.stdout.write(
      `${ROWS} rows, ${DAYS} days, ${WEBHOOKS} webhooks: ${JSON.stringify(size)}\n${lines.join("\n")}\n`,
    );
  await watched.drop();
}, 120_000);

const MIDDLE = "now() - interval '1 day'";
const LSN = `'0/1000000'::pg_lsn + ${Math.floor(ROWS / 2) * 100}`;
const DELIVERY = `msg_${String(Math.floor(ROWS / 2)).padStart(28, "0")}`;
const SOME_LSNS = `lsn between ${LSN} and ${LSN} + 1000000`;

/** Asked of tables by indexes alone. */
const QUESTIONS: readonly (readonly [string, string])[] = [
  ["status", "select * from walhook.status"],
  ["failing_endpoint", "select * from walhook.failing_endpoint"],
  ["top_error", "select * from walhook.top_error"],
  [
    "webhook_rollup, an hour of one webhook",
    `select * from walhook.webhook_rollup where webhook_id = 3 and minute >= now() - interval '1 hour'`,
  ],
  ["delivery, by id", `select * from walhook.delivery where delivery_id = '${DELIVERY}'`],
  ["delivery, by document", "select * from walhook.delivery where doctype = 'orders' and docname = '77'"],
  ["delivery, by 10,000 LSNs", `select * from walhook.delivery where ${SOME_LSNS}`],
  [
    "log, by document",
    "select * from walhook.webhook_request_log where doctype = 'orders' and docname = '77' order by sent_at",
  ],
  [
    "log, one webhook, ten minutes",
    `select * from walhook.webhook_request_log where webhook = 'w3' and sent_at between ${MIDDLE} and ${MIDDLE} + interval '10 minutes'`,
  ],
  [
    "log_figures, an hour",
    `select outcome, count(*) from walhook.log_figures where sent_at between ${MIDDLE} and ${MIDDLE} + interval '1 hour' group by 1`,
  ],
  ["slowest", "select * from walhook.slowest"],
  [
    "document_history",
    "select * from walhook.document_history where doctype_oid = 'orders'::regclass and docname = '77'",
  ],
];

/** Functions, and a view of one: their plans are not seen from outside. */
const HOURS: readonly (readonly [string, string])[] = [
  ["webhook_hour", "select * from walhook.webhook_hour"],
  ["webhook_hours, all, 7 days", "select * from walhook.webhook_hours(now() - interval '7 days', now())"],
  ["webhook_hours, all, 20 days", "select * from walhook.webhook_hours(now() - interval '20 days', now())"],
  ["webhook_hours, all, 30 days", "select * from walhook.webhook_hours(now() - interval '30 days', now())"],
  ["webhook_hours, all, everything", "select * from walhook.webhook_hours('-infinity', 'infinity')"],
  ["webhook_hours, one, 20 days", "select * from walhook.webhook_hours(now() - interval '20 days', now(), 'w3')"],
  ["webhook_hours, one, everything", "select * from walhook.webhook_hours('-infinity', 'infinity', 'w3')"],
  ["why", "select * from walhook.why('orders', '77', '-infinity')"],
];

const READ_WHOLE = /Seq Scan on (webhook_request_log_\d{8}|rollup_minute|rollup_hour|hour_figures)/;

describe("on a large log", () => {
  it.each(QUESTIONS)("%s is answered by indexes", async (name, sql) => {
    const client = await watched.db.connect(analyst);
    // A small table is read whole since that is cheapest: the question is then whether an index would do.
    if (!IS_LARGE) await client.query("set enable_seqscan = off");
    const { rows } = await client.query<{ "QUERY PLAN": string }>(`explain ${sql}`);
    // Of a day ahead there is nothing to read.
    const read = rows.map((row) => row["QUERY PLAN"]).filter((line) => !line.includes("(cost=0.00..0.00 "));
    expect(read.join("\n")).not.toMatch(READ_WHOLE);
    await time(client, name, sql);
  });

  it.each(HOURS)("%s adds up histograms of no hour that is finished, and reads no log whole", async (name, sql) => {
    const client = await watched.db.connect("postgres");
    const open = await watched.rows(
      "select from walhook.rollup_hour h join walhook.hour_figures f using (webhook_id, hour) where not f.is_finished",
    );
    await client.query("begin");
    await client.query(sql);
    const { rows } = await client.query<{ name: string; rows: number; whole: number }>(`
      select relname::text as name, (seq_tup_read + coalesce(idx_tup_fetch, 0))::int as rows, seq_tup_read::int as whole
        from pg_stat_xact_user_tables where schemaname = 'walhook'`);
    await client.query("commit");
    const hours = rows.find((row) => row.name === "rollup_hour")!;
    expect(hours.rows).toBeLessThanOrEqual(open.length);
    expect(rows.filter((row) => row.name.startsWith("webhook_request_log_") && row.whole > 0)).toEqual([]);
    await time(client, name, sql);
  });
});

/** The second of two, as somebody who looks around would have it. */
async function time(
  client: { query(sql: string): Promise<{ rows: unknown[] }> },
  question: string,
  sql: string,
): Promise<void> {
  await client.query(sql);
  const from = performance.now();
  const { rows } = await client.query(sql);
  times.push({ question, ms: performance.now() - from, rows: rows.length });
  expect(rows.length).toBeGreaterThan(0);
}
