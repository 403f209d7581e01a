-- Walhook 140: the log counted by minute, so that rates and percentiles of months need no scan of the log.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- What is counted ----------------------------------------------------------------------------------------------------------

-- Each checkpoint appends what it has logged, in its own transaction. An UPDATE of one row a minute instead would leave a
-- version of it for every checkpoint, all of which each further one walks while an old snapshot keeps them.
create table if not exists walhook.rollup_part (
  minute timestamptz not null,
  webhook_id integer not null,
  webhook text not null,
  outcome text not null,
  error_class text not null,
  host text not null,
  log_rows integer not null,
  request_bytes bigint not null,
  duration_buckets smallint[] not null,
  duration_counts integer[] not null,
  receipt_buckets smallint[] not null,
  receipt_counts integer[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 1);
create index if not exists rollup_part_webhook_id_idx on walhook.rollup_part (webhook_id);

create table if not exists walhook.rollup_minute (
  minute timestamptz not null,
  webhook_id integer not null,
  webhook text not null,
  outcome text not null,
  error_class text not null,
  host text not null,
  log_rows integer not null,
  request_bytes bigint not null,
  duration_buckets smallint[] not null,
  duration_counts integer[] not null,
  receipt_buckets smallint[] not null,
  receipt_counts integer[] not null,
  constraint rollup_minute_pkey primary key (webhook_id, minute, outcome, error_class, host)
);
create index if not exists rollup_minute_minute_idx on walhook.rollup_minute (minute);

-- The same by hour: histograms of hours grow far less than sixtyfold, so a report of weeks reads a tenth.
create table if not exists walhook.rollup_hour (
  hour timestamptz not null,
  webhook_id integer not null,
  webhook text not null,
  outcome text not null,
  error_class text not null,
  host text not null,
  log_rows integer not null,
  request_bytes bigint not null,
  duration_buckets smallint[] not null,
  duration_counts integer[] not null,
  receipt_buckets smallint[] not null,
  receipt_counts integer[] not null,
  constraint rollup_hour_pkey primary key (webhook_id, hour, outcome, error_class, host)
) with (fillfactor = 50);
create index if not exists rollup_hour_hour_idx on walhook.rollup_hour (hour);

comment on table walhook.rollup_part is
  'What checkpoints have added to walhook.webhook_rollup and nobody has merged yet: written by the bridge with the log rows that it counts, in one transaction.';
comment on table walhook.rollup_minute is 'The merged part of walhook.webhook_rollup: see walhook.merge_rollup.';
comment on table walhook.rollup_hour is 'What is merged, by hour (UTC): what walhook.webhook_hours reads, besides walhook.rollup_part.';
comment on column walhook.rollup_hour.hour is 'The hour in which the attempts began (sent_at).';
do $$
declare
  t text;
begin
  foreach t in array array['rollup_part', 'rollup_minute', 'rollup_hour'] loop
    if t <> 'rollup_hour' then
      execute format('comment on column walhook.%I.minute is %L', t, 'The minute in which the attempts began (sent_at).');
    end if;
    execute format('comment on column walhook.%I.webhook_id is %L', t, 'Number of the webhook.');
    execute format('comment on column walhook.%I.webhook is %L', t, 'A name that it had then.');
    execute format('comment on column walhook.%I.outcome is %L', t, 'webhook_request_log.outcome.');
    execute format('comment on column walhook.%I.error_class is %L', t, 'webhook_request_log.error_class; empty: none.');
    execute format('comment on column walhook.%I.host is %L', t, 'Host and port of the URL; empty where nothing was sent.');
    execute format('comment on column walhook.%I.log_rows is %L', t, 'How many rows of the log these are.');
    execute format('comment on column walhook.%I.request_bytes is %L', t, 'Bytes of their bodies.');
    execute format('comment on column walhook.%I.duration_buckets is %L', t, 'Histogram of duration_ms: numbers of its buckets, see walhook.bucket_ms.');
    execute format('comment on column walhook.%I.duration_counts is %L', t, 'How many rows are in each of them.');
    execute format('comment on column walhook.%I.receipt_buckets is %L', t, 'Histogram of the milliseconds from the commit to the end of the answer, of what was delivered: numbers of its buckets.');
    execute format('comment on column walhook.%I.receipt_counts is %L', t, 'How many rows are in each of them.');
  end loop;
end $$;

create or replace view walhook.webhook_rollup as
  select minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
         duration_buckets, duration_counts, receipt_buckets, receipt_counts from walhook.rollup_minute
  union all
  select minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
         duration_buckets, duration_counts, receipt_buckets, receipt_counts from walhook.rollup_part;
comment on view walhook.webhook_rollup is
  'The log (without tests) counted by minute, webhook, outcome, error class and host; at every moment its sums are the log''s. What is new may stand in several rows of one key: sum them up. Percentiles: walhook.webhook_hour, or walhook.percentiles.';
comment on column walhook.webhook_rollup.minute is 'The minute in which the attempts began (sent_at).';
comment on column walhook.webhook_rollup.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_rollup.webhook is 'A name that it had in this minute.';
comment on column walhook.webhook_rollup.outcome is 'webhook_request_log.outcome.';
comment on column walhook.webhook_rollup.error_class is 'webhook_request_log.error_class; empty: none.';
comment on column walhook.webhook_rollup.host is 'Host and port of the URL; empty where nothing was sent.';
comment on column walhook.webhook_rollup.log_rows is 'How many rows of the log these are: attempts, and deliveries settled without one.';
comment on column walhook.webhook_rollup.request_bytes is 'Bytes of their bodies; the body of a batch counts for each of its deliveries.';
comment on column walhook.webhook_rollup.duration_buckets is 'Histogram of duration_ms: numbers of its buckets, each 2 % wide, see walhook.bucket_ms.';
comment on column walhook.webhook_rollup.duration_counts is 'How many rows are in each of them.';
comment on column walhook.webhook_rollup.receipt_buckets is
  'Histogram of the milliseconds from the commit to the end of the answer, of what was delivered; over the clocks of two machines where they are two.';
comment on column walhook.webhook_rollup.receipt_counts is 'How many rows are in each of them.';

-- Percentiles ----------------------------------------------------------------------------------------------------------------

create or replace function walhook.bucket_ms(bucket integer) returns double precision
  language sql immutable strict parallel safe set search_path = pg_catalog, pg_temp
as $$ select case when bucket <= -233 then 0 else power(1.02::double precision, bucket - 0.5::double precision) end $$;
comment on function walhook.bucket_ms(integer) is
  'The milliseconds that a bucket of a histogram stands for: bucket b holds what is above 1.02^(b-1) and at most 1.02^b, so it differs from each value in it by at most 1 %. What is below 0.0099 ms is in bucket -233, which stands for 0.';

create or replace function walhook.percentiles(buckets integer[], counts bigint[], fractions double precision[]) returns double precision[]
  language sql immutable parallel safe set search_path = pg_catalog, pg_temp
as $$
  with histogram as (
    select h.bucket, sum(h.n) as n from unnest(buckets, counts) as h (bucket, n) group by h.bucket
  ), ranked as (
    select h.bucket, sum(h.n) over (order by h.bucket) as upto, sum(h.n) over () as total from histogram h
  )
  select array(
    select (select walhook.bucket_ms(min(r.bucket)) from ranked r where r.upto >= f.fraction * r.total)
      from unnest(fractions) with ordinality as f (fraction, n) order by f.n)
$$;
comment on function walhook.percentiles(integer[], bigint[], double precision[]) is
  'Percentiles of a histogram, in milliseconds, as percentile_disc would give them of its values, within 1 %. Buckets may come several times, so arrays of several rows can be concatenated. For example walhook.percentiles(duration_buckets::int[], duration_counts::bigint[], ''{0.5,0.95,0.99}'').';

-- Merging --------------------------------------------------------------------------------------------------------------------

create or replace function walhook.merge_rollup() returns bigint
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  merged bigint;
begin
  -- Another bridge, taken over or taking over: two at once could both make a row of one key.
  if not pg_try_advisory_xact_lock(hashtextextended('walhook.merge_rollup', 0)) then return 0; end if;
  with parts as (
    delete from walhook.rollup_part
    returning minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
              duration_buckets, duration_counts, receipt_buckets, receipt_counts
  ), keyed as (
    select u.unit, date_trunc(u.unit, p.minute, 'UTC') as at, p.webhook_id, p.webhook, p.outcome, p.error_class, p.host, p.log_rows, p.request_bytes,
           p.duration_buckets, p.duration_counts, p.receipt_buckets, p.receipt_counts
      from parts p, (values ('minute'), ('hour')) u (unit)
  ), added as (
    select k.unit, k.at, k.webhook_id, k.outcome, k.error_class, k.host, max(k.webhook) as webhook,
           sum(k.log_rows)::integer as log_rows, sum(k.request_bytes)::bigint as request_bytes
      from keyed k group by 1, 2, 3, 4, 5, 6
  ), sources as (
    select k.unit, k.at, k.webhook_id, k.outcome, k.error_class, k.host, k.duration_buckets, k.duration_counts, k.receipt_buckets, k.receipt_counts
      from keyed k
    union all
    select a.unit, a.at, a.webhook_id, a.outcome, a.error_class, a.host, m.duration_buckets, m.duration_counts, m.receipt_buckets, m.receipt_counts
      from added a join walhook.rollup_minute m
        on m.webhook_id = a.webhook_id and m.minute = a.at and m.outcome = a.outcome and m.error_class = a.error_class and m.host = a.host
     where a.unit = 'minute'
    union all
    select a.unit, a.at, a.webhook_id, a.outcome, a.error_class, a.host, h.duration_buckets, h.duration_counts, h.receipt_buckets, h.receipt_counts
      from added a join walhook.rollup_hour h
        on h.webhook_id = a.webhook_id and h.hour = a.at and h.outcome = a.outcome and h.error_class = a.error_class and h.host = a.host
     where a.unit = 'hour'
  ), summed as (
    select p.unit, p.at, p.webhook_id, p.outcome, p.error_class, p.host, 1 as kind, b.bucket, sum(b.n)::integer as n
      from sources p, unnest(p.duration_buckets, p.duration_counts) as b (bucket, n) group by 1, 2, 3, 4, 5, 6, 8
    union all
    select p.unit, p.at, p.webhook_id, p.outcome, p.error_class, p.host, 2, b.bucket, sum(b.n)::integer
      from sources p, unnest(p.receipt_buckets, p.receipt_counts) as b (bucket, n) group by 1, 2, 3, 4, 5, 6, 8
  ), histograms as (
    select s.unit, s.at, s.webhook_id, s.outcome, s.error_class, s.host,
           array_agg(s.bucket order by s.bucket) filter (where s.kind = 1) as duration_buckets,
           array_agg(s.n order by s.bucket) filter (where s.kind = 1) as duration_counts,
           array_agg(s.bucket order by s.bucket) filter (where s.kind = 2) as receipt_buckets,
           array_agg(s.n order by s.bucket) filter (where s.kind = 2) as receipt_counts
      from summed s group by 1, 2, 3, 4, 5, 6
  ), whole as (
    select a.unit, a.at, a.webhook_id, a.webhook, a.outcome, a.error_class, a.host, a.log_rows, a.request_bytes,
           coalesce(h.duration_buckets, '{}') as duration_buckets, coalesce(h.duration_counts, '{}') as duration_counts,
           coalesce(h.receipt_buckets, '{}') as receipt_buckets, coalesce(h.receipt_counts, '{}') as receipt_counts
      from added a left join histograms h using (unit, at, webhook_id, outcome, error_class, host)
  ), by_hour as (
    insert into walhook.rollup_hour as m (hour, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
        duration_buckets, duration_counts, receipt_buckets, receipt_counts)
      select w.at, w.webhook_id, w.webhook, w.outcome, w.error_class, w.host, w.log_rows, w.request_bytes,
             w.duration_buckets, w.duration_counts, w.receipt_buckets, w.receipt_counts
        from whole w where w.unit = 'hour'
      -- The histogram of the former row stands in the new one already; no other merge can have changed it since.
      on conflict on constraint rollup_hour_pkey do update
      set webhook = excluded.webhook, log_rows = m.log_rows + excluded.log_rows, request_bytes = m.request_bytes + excluded.request_bytes,
          duration_buckets = excluded.duration_buckets, duration_counts = excluded.duration_counts,
          receipt_buckets = excluded.receipt_buckets, receipt_counts = excluded.receipt_counts
  )
  insert into walhook.rollup_minute as m (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
      duration_buckets, duration_counts, receipt_buckets, receipt_counts)
    select w.at, w.webhook_id, w.webhook, w.outcome, w.error_class, w.host, w.log_rows, w.request_bytes,
           w.duration_buckets, w.duration_counts, w.receipt_buckets, w.receipt_counts
      from whole w where w.unit = 'minute'
    on conflict on constraint rollup_minute_pkey do update
    set webhook = excluded.webhook, log_rows = m.log_rows + excluded.log_rows, request_bytes = m.request_bytes + excluded.request_bytes,
        duration_buckets = excluded.duration_buckets, duration_counts = excluded.duration_counts,
        receipt_buckets = excluded.receipt_buckets, receipt_counts = excluded.receipt_counts;
  get diagnostics merged = row_count;
  return merged;
end $$;
comment on function walhook.merge_rollup() is
  'Merges what checkpoints have appended to walhook.rollup_part into one row a key, by minute and by hour; readers see the same sums before and after. The bridge calls it some seconds after it has written. Returns how many rows it made or changed.';

create or replace function walhook.trim_rollup(keep interval) returns bigint
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  gone bigint;
begin
  delete from walhook.rollup_minute m where m.minute < now() - keep;
  get diagnostics gone = row_count;
  delete from walhook.rollup_hour h where h.hour < now() - keep;
  return gone;
end $$;
comment on function walhook.trim_rollup(interval) is 'Deletes what was counted longer ago than that. Returns how many rows.';

-- What is in the log already -------------------------------------------------------------------------------------------------

do $$
begin
  -- Made with the schema, or by an upgrade, while no bridge writes.
  if exists (select from walhook.migration m where m.version = 140) then return; end if;
  lock table walhook.webhook_request_log in share row exclusive mode;
  insert into walhook.rollup_part (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
      duration_buckets, duration_counts, receipt_buckets, receipt_counts)
    select date_trunc('minute', l.sent_at, 'UTC'), l.webhook_id, max(l.webhook), l.outcome, coalesce(l.error_class, ''),
           coalesce(left(lower(substring(l.url from '^[a-zA-Z]+://(?:[^/?#]*@)?([^/?#]+)')), 255), ''), count(*), coalesce(sum(l.request_bytes), 0),
           coalesce(array_agg(b.duration) filter (where b.duration is not null), '{}'),
           coalesce(array_agg(1) filter (where b.duration is not null), '{}'),
           coalesce(array_agg(b.receipt) filter (where b.receipt is not null), '{}'),
           coalesce(array_agg(1) filter (where b.receipt is not null), '{}')
      from walhook.webhook_request_log l,
           lateral (select l.duration_ms::double precision as duration,
                           case when l.outcome = 'delivered' then extract(epoch from l.sent_at - l.commit_time) * 1000 + l.duration_ms end as receipt) ms,
           lateral (select greatest(-233, ceil(ln(greatest(ms.duration, 1e-6)) / ln(1.02::double precision)))::smallint as duration,
                           case when ms.receipt is not null then greatest(-233, ceil(ln(greatest(ms.receipt, 1e-6)) / ln(1.02::double precision))) end::smallint as receipt
                     where ms.duration is not null) b
     where l.source <> 'test' and l.duration_ms is not null
     group by 1, 2, 4, 5, 6
    union all
    select date_trunc('minute', l.sent_at, 'UTC'), l.webhook_id, max(l.webhook), l.outcome, coalesce(l.error_class, ''), '', count(*), 0,
           '{}'::smallint[], '{}'::integer[], '{}'::smallint[], '{}'::integer[]
      from walhook.webhook_request_log l
     where l.source <> 'test' and l.duration_ms is null
     group by 1, 2, 4, 5;
  perform walhook.merge_rollup();
end $$;

-- Rights ---------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.bucket_ms(integer), walhook.percentiles(integer[], bigint[], double precision[]),
  walhook.merge_rollup(), walhook.trim_rollup(interval) from public;
do $$
declare
  reader text;
begin
  perform walhook.grant_to_roles(array[
    'grant select, insert on walhook.rollup_part to walhook_bridge',
    'grant select on walhook.rollup_minute, walhook.rollup_hour, walhook.webhook_rollup to walhook_bridge',
    'grant execute on function walhook.merge_rollup(), walhook.trim_rollup(interval) to walhook_bridge'
  ]);
  foreach reader in array array['walhook_admin', 'walhook_analyst', 'walhook_monitor'] loop
    perform walhook.grant_to_roles(array[
      'grant select on walhook.webhook_rollup, walhook.rollup_hour, walhook.rollup_minute, walhook.rollup_part to ' || reader,
      'grant execute on function walhook.bucket_ms(integer), walhook.percentiles(integer[], bigint[], double precision[]) to ' || reader
    ]);
  end loop;
end $$;

insert into walhook.migration (version, name) values (140, 'rollup') on conflict do nothing;

commit;
