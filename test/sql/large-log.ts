import type { TestDatabase } from "../support/database.ts";

/** A log as months of traffic leave it, and its rollup, which is what merges made of it. */
export interface LargeLog {
  /** Rows of the log, spread evenly over `days` up to now; each 17th attempt fails and is followed by another. */
  readonly rows: number;
  readonly days: number;
  /** Webhooks that exist, by their numbers; a delivery is of the one at its own number's place in turn. */
  readonly webhooks: readonly { readonly id: number; readonly name: string }[];
  readonly documents: number;
  /** How many times `days` the rollup reaches back: older hours are copies of those of the log. */
  readonly rollupTimes: number;
}

/** Buckets of a log row, as `bucketOf` of src/record/rollup.ts has them. */
const BUCKET = "greatest(-233, ceil(ln(greatest(ms, 1e-6)) / ln(1.02::double precision)))::smallint";

/**
 * Appends what a part of the log counts to `walhook.rollup_part`, as checkpoints do, a row a minute and key.
 * @param condition over `l`, a row of the log
 */
export function appendCounted(condition: string): string {
  return `
    insert into walhook.rollup_part (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
        duration_buckets, duration_counts, receipt_buckets, receipt_counts)
    select date_trunc('minute', l.sent_at, 'UTC'), l.webhook_id, max(l.webhook), l.outcome, coalesce(l.error_class, ''),
           coalesce(substring(l.url from '//([^/]+)'), ''), count(*), coalesce(sum(l.request_bytes), 0),
           coalesce(array_agg(d.bucket) filter (where d.bucket is not null), '{}'), coalesce(array_agg(1) filter (where d.bucket is not null), '{}'),
           coalesce(array_agg(r.bucket) filter (where r.bucket is not null), '{}'), coalesce(array_agg(1) filter (where r.bucket is not null), '{}')
      from walhook.webhook_request_log l
      left join lateral (select ${BUCKET} as bucket from (values (l.duration_ms::double precision)) v (ms) where ms is not null) d on true
      left join lateral (select ${BUCKET} as bucket from (values (extract(epoch from l.sent_at - l.commit_time)::double precision * 1000 + l.duration_ms)) v (ms)
                          where ms is not null and l.outcome = 'delivered') r on true
     where ${condition}
     group by 1, 2, 4, 5, 6`;
}

/** Fills log and rollup of an installed database, as superuser, a day a statement. */
export async function fillLog(
  db: TestDatabase,
  { rows, days, webhooks, documents, rollupTimes }: LargeLog,
): Promise<void> {
  const client = await db.connect();
  await client.query("set timezone = 'UTC'; set synchronous_commit = off; set work_mem = '256MB'; select setseed(0.5)");
  await client.query(
    "create temp table span as select now() - make_interval(days => $1) as start, make_interval(secs => $1 * 86400.0 / $2) as step",
    [days, rows],
  );
  const { rows: partitions } = await client.query<{ day: string; name: string; first: string; last: string }>(
    `select d::text as day, to_char(d, '"webhook_request_log_"YYYYMMDD') as name,
            greatest(1, ceil(extract(epoch from d - s.start) / extract(epoch from s.step)))::bigint as first,
            least($1, ceil(extract(epoch from d + interval '1 day' - s.start) / extract(epoch from s.step)) - 1)::bigint as last
       from span s, generate_series(date_trunc('day', s.start), now(), interval '1 day') d order by 1`,
    [rows],
  );
  for (const { day, name, first, last } of partitions) {
    await client.query(
      `create table if not exists walhook.${name} partition of walhook.webhook_request_log for values from ('${day}') to (timestamptz '${day}' + interval '1 day')`,
    );
    await client.query(
      `
      insert into walhook.${name} (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome, status_code,
          duration_ms, first_byte_ms, error_class, error, lsn, xid, commit_time, method, url, request_body, request_bytes, body_kept)
      select s.start + n * s.step, 'msg_' || lpad(m::text, 28, '0'), 1 + (n % 17 = 1)::int, w.ids[1 + m % ${webhooks.length}], w.names[1 + m % ${webhooks.length}], 'orders',
             (m * 7919 % ${documents})::text, 'on_update', 'live', case when n % 17 = 0 then 'retry' else 'delivered' end, case when n % 17 = 0 then 503 else 200 end,
             t.ms, t.ms * 0.9, case when n % 17 = 0 then 'http_status' end, case when n % 17 = 0 then 'HTTP 503' end,
             '0/1000000'::pg_lsn + m * 100, m, s.start + m * s.step - interval '3 ms', 'POST', 'https://receiver' || m % ${webhooks.length} || '.example.com/hooks/orders',
             '{"event":"on_update","doc":{"id":' || m || ',"note":"' || repeat('x', 60) || '"}}', 100, 'whole'
        from span s, (select $1::integer[] as ids, $2::text[] as names) w, generate_series(${first}::bigint, ${last}::bigint) n,
             lateral (select n - (n % 17 = 1)::int as m) f,
             lateral (select exp(1.6 + 0.7 * (random() + random() + random() + random() - 2)) as ms where n > 0) t`,
      [webhooks.map(({ id }) => id), webhooks.map(({ name: webhook }) => webhook)],
    );
    await client.query(appendCounted(`l.sent_at >= '${day}' and l.sent_at < timestamptz '${day}' + interval '1 day'`));
    await client.query("select walhook.merge_rollup()");
    await client.query("vacuum (analyze) walhook.rollup_part, walhook.rollup_minute, walhook.rollup_hour");
  }
  for (let back = 1; back < rollupTimes; back++) {
    await client.query(`
      insert into walhook.rollup_hour (hour, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes, duration_buckets, duration_counts, receipt_buckets, receipt_counts)
      select h.hour - make_interval(days => ${days * back}), h.webhook_id, h.webhook, h.outcome, h.error_class, h.host, h.log_rows, h.request_bytes,
             h.duration_buckets, h.duration_counts, h.receipt_buckets, h.receipt_counts
        from walhook.rollup_hour h, span s where h.hour > s.start on conflict do nothing`);
  }
  await client.query("select walhook.finish_hours(100000)");
  // As autovacuum does, also for the summaries of BRIN indexes.
  await client.query(
    "vacuum (analyze) walhook.webhook_request_log, walhook.rollup_part, walhook.rollup_minute, walhook.rollup_hour, walhook.hour_figures",
  );
  await client.end();
}
