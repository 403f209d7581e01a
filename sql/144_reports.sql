-- Walhook 144: reports: from what is counted by minute, and from the log itself.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- From the rollup: any time, in well under a second ------------------------------------------------------------------------

create or replace function walhook.webhook_hours(since timestamptz default now() - interval '24 hours', until timestamptz default now(), webhook text default null)
  returns table (hour timestamptz, webhook_id integer, webhook text, log_rows bigint, attempts bigint, delivered bigint, retried bigint, given_up bigint,
    success_percent numeric, request_bytes bigint, p50_ms numeric, p95_ms numeric, p99_ms numeric,
    receipt_p50_ms numeric, receipt_p95_ms numeric, receipt_p99_ms numeric)
  language sql stable security invoker set search_path = pg_catalog, pg_temp
as $$
  with edges as (
    -- Hours that are asked for whole; what sticks out is read by minute.
    select date_trunc('hour', since + interval '1 hour' - interval '1 microsecond', 'UTC') as first, date_trunc('hour', until, 'UTC') as behind,
           (select w.webhook_id from walhook.status w where w.webhook = webhook_hours.webhook) as id
  ), chosen as materialized (
    select h.hour, h.webhook_id, h.webhook, h.outcome, h.log_rows, h.request_bytes, h.duration_buckets, h.duration_counts, h.receipt_buckets, h.receipt_counts
      from walhook.rollup_hour h, edges e
     where h.hour >= e.first and h.hour < e.behind and (webhook_hours.webhook is null or h.webhook_id = e.id)
    union all
    select date_trunc('hour', m.minute, 'UTC'), m.webhook_id, m.webhook, m.outcome, m.log_rows, m.request_bytes,
           m.duration_buckets, m.duration_counts, m.receipt_buckets, m.receipt_counts
      from walhook.rollup_minute m, edges e
     where m.minute >= since and m.minute < least(e.first, until) and (webhook_hours.webhook is null or m.webhook_id = e.id)
    union all
    select date_trunc('hour', m.minute, 'UTC'), m.webhook_id, m.webhook, m.outcome, m.log_rows, m.request_bytes,
           m.duration_buckets, m.duration_counts, m.receipt_buckets, m.receipt_counts
      from walhook.rollup_minute m, edges e
     where m.minute >= greatest(e.behind, e.first) and m.minute < until and (webhook_hours.webhook is null or m.webhook_id = e.id)
    union all
    select date_trunc('hour', p.minute, 'UTC'), p.webhook_id, p.webhook, p.outcome, p.log_rows, p.request_bytes,
           p.duration_buckets, p.duration_counts, p.receipt_buckets, p.receipt_counts
      from walhook.rollup_part p, edges e
     where p.minute >= since and p.minute < until and (webhook_hours.webhook is null or p.webhook_id = e.id)
  ), counted as (
    select c.hour, c.webhook_id, max(c.webhook) as webhook, sum(c.log_rows) as log_rows,
           coalesce(sum(c.log_rows) filter (where c.outcome = 'delivered'), 0) as delivered,
           coalesce(sum(c.log_rows) filter (where c.outcome in ('retry', 'blocked')), 0) as retried,
           coalesce(sum(c.log_rows) filter (where c.outcome in ('dead', 'error', 'undecidable')), 0) as given_up,
           coalesce(sum(c.log_rows) filter (where c.outcome in ('delivered', 'retry', 'dead', 'blocked', 'error')), 0) as attempts,
           sum(c.request_bytes) as request_bytes
      from chosen c group by 1, 2
  ), buckets as (
    select c.hour, c.webhook_id, 1 as kind, b.bucket, b.n
      from chosen c, unnest(c.duration_buckets, c.duration_counts) as b (bucket, n)
    union all
    select c.hour, c.webhook_id, 2, b.bucket, b.n
      from chosen c, unnest(c.receipt_buckets, c.receipt_counts) as b (bucket, n)
  ), ranked as (
    -- Rows of one bucket are peers of the window, so their sums are the same.
    select s.hour, s.webhook_id, s.kind, s.bucket,
           (sum(s.n) over w)::double precision / sum(s.n) over (partition by s.hour, s.webhook_id, s.kind)::double precision as upto
      from buckets s window w as (partition by s.hour, s.webhook_id, s.kind order by s.bucket)
  ), percentiles as (
    select r.hour, r.webhook_id,
           min(r.bucket) filter (where r.kind = 1 and r.upto >= 0.5) as p50, min(r.bucket) filter (where r.kind = 1 and r.upto >= 0.95) as p95,
           min(r.bucket) filter (where r.kind = 1 and r.upto >= 0.99) as p99,
           min(r.bucket) filter (where r.kind = 2 and r.upto >= 0.5) as receipt_p50, min(r.bucket) filter (where r.kind = 2 and r.upto >= 0.95) as receipt_p95,
           min(r.bucket) filter (where r.kind = 2 and r.upto >= 0.99) as receipt_p99
      from ranked r group by 1, 2
  )
  select c.hour, c.webhook_id, c.webhook, c.log_rows, c.attempts, c.delivered, c.retried, c.given_up,
         round(100.0 * c.delivered / nullif(c.attempts, 0), 2), c.request_bytes,
         round(walhook.bucket_ms(p.p50)::numeric, 3), round(walhook.bucket_ms(p.p95)::numeric, 3), round(walhook.bucket_ms(p.p99)::numeric, 3),
         round(walhook.bucket_ms(p.receipt_p50)::numeric, 3), round(walhook.bucket_ms(p.receipt_p95)::numeric, 3),
         round(walhook.bucket_ms(p.receipt_p99)::numeric, 3)
    from counted c left join percentiles p using (hour, webhook_id)
   order by 1, 3
$$;
comment on function walhook.webhook_hours(timestamptz, timestamptz, text) is
  'Figures by hour (UTC) and webhook of a stretch of time, of all webhooks or of one, from walhook.webhook_rollup. Percentiles are within 1 %. The columns are those of walhook.webhook_hour.';

create or replace view walhook.webhook_hour as
  select h.hour, h.webhook_id, h.webhook, h.log_rows, h.attempts, h.delivered, h.retried, h.given_up, h.success_percent, h.request_bytes,
         h.p50_ms, h.p95_ms, h.p99_ms, h.receipt_p50_ms, h.receipt_p95_ms, h.receipt_p99_ms
    from walhook.webhook_hours(now() - interval '3 days', 'infinity') h;
comment on view walhook.webhook_hour is
  'Figures of each webhook by hour (UTC) of the last three days, from walhook.webhook_rollup; of other times: walhook.webhook_hours.';
comment on column walhook.webhook_hour.hour is 'Its beginning.';
comment on column walhook.webhook_hour.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_hour.webhook is 'A name that it had in this hour.';
comment on column walhook.webhook_hour.log_rows is 'Rows of the log, tests left out.';
comment on column walhook.webhook_hour.attempts is 'Of them attempts, and deliveries that an error ended without one.';
comment on column walhook.webhook_hour.delivered is 'Attempts that succeeded.';
comment on column walhook.webhook_hour.retried is 'Attempts that failed, and were followed by another (retry, blocked).';
comment on column walhook.webhook_hour.given_up is 'Deliveries that ended without success (dead, error, undecidable).';
comment on column walhook.webhook_hour.success_percent is 'delivered of attempts, in percent.';
comment on column walhook.webhook_hour.request_bytes is 'Bytes of bodies.';
comment on column walhook.webhook_hour.p50_ms is 'Median duration of an attempt, in milliseconds, within 1 %.';
comment on column walhook.webhook_hour.p95_ms is '95 of 100 took no longer.';
comment on column walhook.webhook_hour.p99_ms is '99 of 100 took no longer.';
comment on column walhook.webhook_hour.receipt_p50_ms is 'Median of the time from the commit to the end of the answer, of what was delivered.';
comment on column walhook.webhook_hour.receipt_p95_ms is 'Within which 95 of 100 were received.';
comment on column walhook.webhook_hour.receipt_p99_ms is 'Within which 99 of 100 were received.';

create or replace view walhook.failing_endpoint as
  select r.webhook_id, max(r.webhook) as webhook, r.host, sum(r.log_rows) as attempts,
         sum(r.log_rows) filter (where r.outcome <> 'delivered') as failed,
         round(100.0 * sum(r.log_rows) filter (where r.outcome <> 'delivered') / sum(r.log_rows), 2) as failed_percent,
         mode() within group (order by r.error_class) filter (where r.outcome <> 'delivered') as error_class,
         max(r.minute) filter (where r.outcome <> 'delivered') as last_failure, max(r.minute) filter (where r.outcome = 'delivered') as last_success
    from walhook.webhook_rollup r
   where r.minute > now() - interval '24 hours' and r.host <> '' and r.outcome in ('delivered', 'retry', 'dead', 'blocked', 'error')
   group by r.webhook_id, r.host
  having sum(r.log_rows) filter (where r.outcome <> 'delivered') > 0;
comment on view walhook.failing_endpoint is 'Hosts to which attempts of the last 24 hours failed, by webhook.';
comment on column walhook.failing_endpoint.webhook_id is 'Number of the webhook.';
comment on column walhook.failing_endpoint.webhook is 'Its name.';
comment on column walhook.failing_endpoint.host is 'Host and port of the URL.';
comment on column walhook.failing_endpoint.attempts is 'Attempts of these 24 hours.';
comment on column walhook.failing_endpoint.failed is 'How many of them failed.';
comment on column walhook.failing_endpoint.failed_percent is 'The same in percent.';
comment on column walhook.failing_endpoint.error_class is 'How, in most minutes.';
comment on column walhook.failing_endpoint.last_failure is 'The last minute with a failure.';
comment on column walhook.failing_endpoint.last_success is 'The last minute with a success.';

create or replace view walhook.top_error as
  select r.outcome, nullif(r.error_class, '') as error_class, r.webhook_id, max(r.webhook) as webhook, sum(r.log_rows) as log_rows,
         min(r.minute) as first_minute, max(r.minute) as last_minute
    from walhook.webhook_rollup r
   where r.minute > now() - interval '24 hours' and r.outcome <> 'delivered'
   group by r.outcome, r.error_class, r.webhook_id
   order by sum(r.log_rows) desc;
comment on view walhook.top_error is 'What went wrong in the last 24 hours, most frequent first.';
comment on column walhook.top_error.outcome is 'webhook_request_log.outcome.';
comment on column walhook.top_error.error_class is 'webhook_request_log.error_class.';
comment on column walhook.top_error.webhook_id is 'Number of the webhook.';
comment on column walhook.top_error.webhook is 'Its name.';
comment on column walhook.top_error.log_rows is 'How often.';
comment on column walhook.top_error.first_minute is 'The first minute of it.';
comment on column walhook.top_error.last_minute is 'The last minute of it.';

-- From the log: by document, by delivery, by a range of LSN or time -----------------------------------------------------------

create or replace view walhook.delivery as
  select l.delivery_id, l.webhook_id, l.webhook, l.doctype, l.docname, l.docevent, l.lsn, l.xid, l.commit_time,
         max(l.attempt) as attempts, min(l.sent_at) as first_sent_at, max(l.sent_at) as last_sent_at,
         (array_agg(l.outcome order by l.attempt desc, l.sent_at desc))[1] as outcome,
         (array_agg(l.status_code order by l.attempt desc, l.sent_at desc))[1] as status_code,
         (array_agg(l.error order by l.attempt desc, l.sent_at desc))[1] as error,
         array_agg(distinct l.source) as sources,
         min(l.sent_at + make_interval(secs => l.duration_ms / 1000.0)) filter (where l.outcome = 'delivered') as delivered_at,
         extract(epoch from min(l.sent_at + make_interval(secs => l.duration_ms / 1000.0)) filter (where l.outcome = 'delivered') - l.commit_time) * 1000
           as receipt_ms
    from walhook.webhook_request_log l
   group by l.delivery_id, l.webhook_id, l.webhook, l.doctype, l.docname, l.docevent, l.lsn, l.xid, l.commit_time;
comment on view walhook.delivery is
  'One row a delivery, with its attempts folded in. Ask for a delivery_id, a document (doctype and docname) or a range of lsn: these have indexes.';
comment on column walhook.delivery.delivery_id is 'The webhook-id.';
comment on column walhook.delivery.webhook_id is 'Number of the webhook.';
comment on column walhook.delivery.webhook is 'Its name when the event was matched.';
comment on column walhook.delivery.doctype is 'The table.';
comment on column walhook.delivery.docname is 'Primary key of the row as text.';
comment on column walhook.delivery.docevent is 'What happened to it.';
comment on column walhook.delivery.lsn is 'Commit LSN of the change.';
comment on column walhook.delivery.xid is 'Its transaction.';
comment on column walhook.delivery.commit_time is 'When it was committed.';
comment on column walhook.delivery.attempts is 'Attempts made; 0: nothing was sent.';
comment on column walhook.delivery.first_sent_at is 'When the first began.';
comment on column walhook.delivery.last_sent_at is 'When the last began.';
comment on column walhook.delivery.outcome is 'How the last ended: webhook_request_log.outcome. retry: another follows.';
comment on column walhook.delivery.status_code is 'Status of the last answer.';
comment on column walhook.delivery.error is 'Why the last failed.';
comment on column walhook.delivery.sources is 'live, backfill, replay, test: several where it was replayed.';
comment on column walhook.delivery.delivered_at is 'When it first was answered with success.';
comment on column walhook.delivery.receipt_ms is 'Milliseconds from the commit until then.';

create or replace view walhook.slowest as
  select l.duration_ms, l.sent_at, l.webhook, l.doctype, l.docname, l.docevent, l.delivery_id, l.attempt, l.outcome, l.status_code, l.error_class,
         l.dns_ms, l.connect_ms, l.tls_ms, l.first_byte_ms, l.url
    from walhook.webhook_request_log l
   where l.sent_at > now() - interval '1 hour' and l.duration_ms is not null
   order by l.duration_ms desc limit 100;
comment on view walhook.slowest is
  'The hundred slowest attempts of the last hour, with where the time went. Its columns are those of walhook.webhook_request_log.';

do $$
declare
  c record;
begin
  for c in
    select a.attname, col_description('walhook.webhook_request_log'::regclass, l.attnum) as said
      from pg_attribute a join pg_attribute l on l.attrelid = 'walhook.webhook_request_log'::regclass and l.attname = a.attname
     where a.attrelid = 'walhook.slowest'::regclass and a.attnum > 0
  loop
    execute format('comment on column walhook.slowest.%I is %L', c.attname, c.said);
  end loop;
end $$;

-- Rights -------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.webhook_hours(timestamptz, timestamptz, text) from public;
do $$
declare
  reader text;
begin
  foreach reader in array array['walhook_admin', 'walhook_analyst', 'walhook_monitor'] loop
    perform walhook.grant_to_roles(array[
      'grant select on walhook.webhook_hour, walhook.failing_endpoint, walhook.top_error to ' || reader,
      'grant execute on function walhook.webhook_hours(timestamptz, timestamptz, text) to ' || reader]);
  end loop;
  perform walhook.grant_to_roles(array[
    'grant select on walhook.delivery, walhook.slowest to walhook_analyst',
    'grant select on walhook.delivery, walhook.slowest, walhook.webhook_hour, walhook.failing_endpoint, walhook.top_error to walhook_bridge']);
end $$;

insert into walhook.migration (version, name) values (144, 'reports') on conflict do nothing;

commit;
