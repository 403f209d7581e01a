import { readFile } from "node:fs/promises";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { appendCounted } from "../sql/large-log.ts";
import { watchedDatabase, type WatchedDatabase } from "../sql/watched-database.ts";
import { seeded } from "./seeded.ts";

const SEEDS = [Date.now() % 100_000, 1, 2];
const STEPS = 60;
const HOURS_BACK = 40;
const HOUR_MS = 3_600_000;

let watched: WatchedDatabase;
let random: () => number;
/** What is older may be trimmed: of the hour before there are only minutes left. */
let oldest = 0;
/** Told apart by `xid`: each is counted once. */
let batch = 0;

beforeAll(async () => {
  watched = await watchedDatabase("rollup_hours");
  await watched.app.query("create table orders (id int primary key)");
  for (let n = 0; n < 4; n++) await watched.webhook(`w${n}`, "orders", "on_update");
  // The function of before hour_figures, which adds up histograms of all hours.
  const file = await readFile(new URL("../../sql/144_reports.sql", import.meta.url), "utf8");
  const [former] = /create or replace function walhook\.webhook_hours\([\s\S]*?\$\$;/.exec(file)!;
  await watched.rows(former.replace("walhook.webhook_hours(", "webhook_hours("));
});
afterAll(() => watched.drop());

const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;
const below = (n: number): number => Math.floor(random() * n);

/** Log rows of one checkpoint, and what it counts, in one transaction. */
async function append(): Promise<void> {
  batch++;
  const end = Math.ceil(Date.now() / HOUR_MS) * HOUR_MS;
  const rows = Array.from({ length: 1 + below(120) }, (_, n) => {
    const outcome = pick([
      "delivered",
      "delivered",
      "delivered",
      "retry",
      "dead",
      "blocked",
      "cancelled",
      "undecidable",
    ]);
    const wasSent = !["cancelled", "undecidable"].includes(outcome);
    const id = 1 + below(4);
    return {
      n,
      at: pick(
        [oldest, end - HOUR_MS, end - 2 * HOUR_MS, end - 8 * HOUR_MS].map(
          (from) => new Date(from + random() * (from === oldest ? end - oldest : HOUR_MS)),
        ),
      ),
      id,
      // A name that it had once, or has.
      name: `w${id - 1}${pick(["", "", "_before"])}`,
      outcome,
      error_class: outcome === "delivered" ? null : pick(["timeout", "http_status"]),
      ms: wasSent ? Math.exp(random() * 9 - 1) : null,
      late: random() * 50,
      url: wasSent ? `https://${pick(["a", "b"])}.example.com/x` : null,
    };
  });
  const client = await watched.db.connect();
  await client.query("begin");
  await client.query(
    `insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docevent, source, outcome, duration_ms, error_class,
       xid, commit_time, url, request_bytes)
     select r.at, 'msg_' || $2::bigint || '_' || r.n, 1, r.id, r.name, 'orders', 'on_update', 'live', r.outcome, r.ms, r.error_class, $2::bigint, r.at - r.late * interval '1 ms',
            r.url, case when r.url is not null then r.n end
       from jsonb_to_recordset($1) as r (n int, at timestamptz, id int, name text, outcome text, error_class text, ms real, late float8, url text)`,
    [JSON.stringify(rows), batch],
  );
  await client.query(appendCounted(`l.xid = ${batch}`));
  await client.query("commit");
  await client.end();
}

async function merging<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await watched.db.connect(watched.roles.bridge);
  await client.query("begin");
  await client.query("select walhook.merge_rollup()");
  return use(client);
}

const STEPS_OF: Readonly<Record<string, () => Promise<unknown>>> = {
  append,
  "append again": append,
  merge: () => watched.db.queryAs(watched.roles.bridge, "select walhook.merge_rollup()"),
  "merge, looked at and added to before it is committed": () =>
    merging(async (client) => {
      await check();
      await append();
      await check();
      await client.query("commit");
      await client.end();
    }),
  "merge that is rolled back": () =>
    merging(async (client) => {
      await client.query("rollback");
      await client.end();
    }),
  "merge whose bridge is killed": () =>
    merging(async (client) => {
      const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
      const ended = new Promise((resolve) => client.once("end", resolve));
      await watched.rows("select pg_terminate_backend($1)", [rows[0]!.pid]);
      await ended;
    }),
  "two bridges merge at once": () =>
    Promise.all([1, 2].map(() => watched.db.queryAs(watched.roles.bridge, "select walhook.merge_rollup()"))),
  trim: async () => {
    const until = oldest + HOUR_MS * (below(4) + 0.2 + random() * 0.6);
    if (until > Date.now() - 12 * HOUR_MS) return;
    await watched.db.queryAs(watched.roles.bridge, "select walhook.trim_rollup(now() - $1)", [new Date(until)]);
    oldest = Math.ceil(until / HOUR_MS) * HOUR_MS;
  },
  "rename a webhook": () => {
    const n = below(4);
    return watched.admin.query("update walhook.webhook set name = $2 where id = $1", [
      n + 1,
      `w${n}${pick(["", "_after"])}`,
    ]);
  },
};

const FIGURES = `hour, webhook_id, webhook, log_rows, attempts, delivered, retried, given_up, success_percent, request_bytes, p50_ms, p95_ms, p99_ms,
  receipt_p50_ms, receipt_p95_ms, receipt_p99_ms`;
const DIRECT = `
  select date_trunc('hour', l.sent_at, 'UTC') as hour, l.webhook_id, array_agg(distinct l.webhook) as names, count(*) as log_rows,
         count(*) filter (where l.outcome in ('delivered', 'retry', 'dead', 'blocked', 'error')) as attempts,
         count(*) filter (where l.outcome = 'delivered') as delivered, count(*) filter (where l.outcome in ('retry', 'blocked')) as retried,
         count(*) filter (where l.outcome in ('dead', 'error', 'undecidable')) as given_up, coalesce(sum(l.request_bytes), 0) as request_bytes,
         percentile_disc('{0.5,0.95,0.99}'::float8[]) within group (order by l.duration_ms::float8) as ms,
         percentile_disc('{0.5,0.95,0.99}'::float8[]) within group (order by extract(epoch from l.sent_at - l.commit_time)::float8 * 1000 + l.duration_ms)
           filter (where l.outcome = 'delivered') as receipt_ms
    from walhook.webhook_request_log l
   where date_trunc('minute', l.sent_at) >= $1 and date_trunc('minute', l.sent_at) < $2 and ($3::text is null or l.webhook_id = (select id from walhook.webhook where name = $3))
   group by 1, 2 order by 1, 2`;

/** A stretch of random length, of one webhook or all, by both functions and from the log. */
async function check(): Promise<void> {
  const [{ since, until }] = (await watched.rows(
    `select to_char(now() - greatest($1::float8, $2::float8) * interval '1 hour', 'YYYY-MM-DD HH24:MI:SS.USOF') as since,
       to_char(now() - least($1::float8, $2::float8) * interval '1 hour', 'YYYY-MM-DD HH24:MI:SS.USOF') as until`,
    [random() * HOURS_BACK, random() * pick([2, HOURS_BACK])],
  )) as [{ since: string; until: string }];
  const stretch = pick([
    [since, until],
    [since, until],
    [`${since.slice(0, 14)}00:00+00`, `${until.slice(0, 14)}00:00+00`],
    ["-infinity", "infinity"],
  ]);
  const [named] = await watched.rows("select name from walhook.webhook where id = $1", [pick([null, null, 2, 3])]);
  const asked = [...stretch, (named?.["name"] as string | undefined) ?? null];
  const found = await watched.rows(`select ${FIGURES} from walhook.webhook_hours($1, $2, $3) order by 1, 2`, asked);
  expect(found, asked.join(", ")).toEqual(
    await watched.rows(`select ${FIGURES} from public.webhook_hours($1, $2, $3) order by 1, 2`, asked),
  );
  const direct = await watched.rows(DIRECT, asked);
  const isWhole = (row: Readonly<Record<string, unknown>>): boolean => (row["hour"] as Date).getTime() >= oldest;
  compare(found.filter(isWhole), direct.filter(isWhole), asked.join(", "));
}

function compare(
  found: readonly Record<string, unknown>[],
  direct: readonly Record<string, unknown>[],
  asked: string,
): void {
  const counts = ["hour", "webhook_id", "log_rows", "attempts", "delivered", "retried", "given_up", "request_bytes"];
  const only = (rows: readonly Record<string, unknown>[]): unknown[] =>
    rows.map((row) => counts.map((name) => row[name]));
  expect(only(found), asked).toEqual(only(direct));
  found.forEach((row, i) => {
    expect(direct[i]!["names"]).toContain(row["webhook"]);
    for (const kind of ["", "receipt_"]) {
      const exact = direct[i]![`${kind}ms`] as (number | null)[] | null;
      ["p50_ms", "p95_ms", "p99_ms"].forEach((name, k) => {
        const value = row[kind + name] as string | null;
        const of = exact?.[k] ?? null;
        if (of === null) expect(value, asked).toBeNull();
        else expect(Math.abs(Number(value) - of), `${kind}${name} of ${asked}`).toBeLessThanOrEqual(of * 0.01 + 0.001);
      });
    }
  });
}

describe("figures by hour", () => {
  it.each(SEEDS)(
    "are the log's in every stretch, as histograms have them, whatever was merged, rolled back, killed, trimmed or renamed between (seed %i)",
    async (seed) => {
      random = seeded(seed);
      oldest = Math.floor(Date.now() / HOUR_MS - HOURS_BACK) * HOUR_MS;
      await watched.rows(
        "truncate walhook.rollup_minute, walhook.rollup_hour, walhook.rollup_part, walhook.webhook_request_log",
      );
      expect(await watched.rows("select from walhook.hour_figures")).toEqual([]);
      await append();
      for (let step = 0; step < STEPS; step++) {
        await STEPS_OF[pick(Object.keys(STEPS_OF))]!();
        for (let n = 0; n < 3; n++) await check();
      }
      // After merges in peace nothing that is over is left to do, and nothing else is there than what is counted.
      for (;;) {
        const { rows } = await watched.db.queryAs(watched.roles.bridge, "select walhook.merge_rollup()::int as n");
        if ((rows[0] as { n: number }).n === 0 && (await open()).length === 0) break;
      }
      await check();
      expect(await watched.rows("select webhook_id, hour from walhook.hour_figures order by 1, 2")).toEqual(
        await watched.rows("select distinct webhook_id, hour from walhook.rollup_hour order by 1, 2"),
      );
    },
    60_000,
  );

  it("are worked out by an upgrade for the hours that it finds", async () => {
    const figures = "select * from walhook.hour_figures where is_finished order by webhook_id, hour";
    const before = await watched.rows(figures);
    expect(before.length).toBeGreaterThan(50);
    const file = await readFile(new URL("../../sql/180_hour_figures.sql", import.meta.url), "utf8");
    await watched.rows("delete from walhook.hour_figures; delete from walhook.migration where version = 180");
    await watched.rows(file);
    expect(await watched.rows(figures)).toEqual(before);
    await watched.rows(file);
    expect(await watched.rows(figures)).toEqual(before);
  });
});

const open = (): Promise<readonly Record<string, unknown>[]> =>
  watched.rows("select from walhook.hour_figures where not is_finished and hour <= now() - interval '65 minutes'");
