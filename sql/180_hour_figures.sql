-- Walhook 180: figures of whole hours are worked out once, when the hour is over, so that reports of months only read them.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- One row a webhook and hour -------------------------------------------------------------------------------------------------

create table if not exists walhook.hour_figures (
  hour timestamptz not null,
  webhook_id integer not null,
  is_finished boolean not null,
  webhook text,
  log_rows bigint,
  attempts bigint,
  delivered bigint,
  retried bigint,
  given_up bigint,
  success_percent numeric,
  request_bytes bigint,
  p50_ms numeric,
  p95_ms numeric,
  p99_ms numeric,
  receipt_p50_ms numeric,
  receipt_p95_ms numeric,
  receipt_p99_ms numeric,
  constraint hour_figures_pkey primary key (webhook_id, hour)
);
create index if not exists hour_figures_hour_idx on walhook.hour_figures (hour);
create index if not exists hour_figures_unfinished_idx on walhook.hour_figures (hour) where not is_finished;

comment on table walhook.hour_figures is
  'What walhook.webhook_hours says of each hour and webhook in walhook.rollup_hour, kept where is_finished: so it adds up histograms of the other hours alone. Ask that function: what stands in walhook.rollup_part is not in here.';
do $$
declare
  c record;
begin
  for c in
    select a.attname, col_description('walhook.webhook_hour'::regclass, h.attnum) as said
      from pg_attribute a join pg_attribute h on h.attrelid = 'walhook.webhook_hour'::regclass and h.attname = a.attname
     where a.attrelid = 'walhook.hour_figures'::regclass and a.attnum > 0
  loop
    execute format('comment on column walhook.hour_figures.%I is %L', c.attname, c.said);
  end loop;
end $$;
comment on column walhook.hour_figures.is_finished is
  'Whether the figures are those of walhook.rollup_hour. False from when the hour is written to until it is over and its figures were worked out; until then they mean nothing.';

-- Reading ----------------------------------------------------------------------------------------------------------------------

create or replace function walhook.reported_webhook(name text) returns integer
  language plpgsql stable strict security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := coalesce(
    (select s.webhook_id from walhook.status s where s.webhook = name),
    (select p.webhook_id from walhook.rollup_part p where p.webhook = name order by p.minute desc limit 1),
    (select h.webhook_id from walhook.rollup_hour h where h.webhook = name order by h.hour desc limit 1));
begin
  if number is null then
    raise exception 'there is no webhook "%", and nothing was counted of one', name using errcode = 'no_data_found',
      hint = 'Names stand in walhook.status, and in walhook.webhook_rollup those of webhooks that were deleted or had another name.';
  end if;
  return number;
end $$;
comment on function walhook.reported_webhook(text) is
  'The number of the webhook that has this name, or had it when it was counted last; NULL for NULL. Raises where there is none.';

create or replace function walhook.check_stretch(since timestamptz, until timestamptz) returns timestamptz
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  if since > until then
    raise exception 'since (%) is after until (%)', since, until using errcode = 'invalid_parameter_value',
      hint = format('The other way round: since => %L, until => %L', until, since);
  end if;
  return since;
end $$;
comment on function walhook.check_stretch(timestamptz, timestamptz) is 'Raises where since is after until; else since.';

create or replace function walhook.webhook_hours(since timestamptz default now() - interval '24 hours', until timestamptz default now(), webhook text default null)
  returns table (hour timestamptz, webhook_id integer, webhook text, log_rows bigint, attempts bigint, delivered bigint, retried bigint, given_up bigint,
    success_percent numeric, request_bytes bigint, p50_ms numeric, p95_ms numeric, p99_ms numeric,
    receipt_p50_ms numeric, receipt_p95_ms numeric, receipt_p99_ms numeric)
  language sql stable security invoker set search_path = pg_catalog, pg_temp set jit = off
as $$
  with edges as materialized (
    -- Hours that are asked for whole; what sticks out is read by minute.
    select date_trunc('hour', walhook.check_stretch(since, until) + interval '1 hour' - interval '1 microsecond', 'UTC') as first, date_trunc('hour', until, 'UTC') as behind,
           walhook.reported_webhook(webhook_hours.webhook) as id
  ), parts as materialized (
    select date_trunc('hour', p.minute, 'UTC') as hour, p.webhook_id, p.webhook, p.outcome, p.log_rows, p.request_bytes,
           p.duration_buckets, p.duration_counts, p.receipt_buckets, p.receipt_counts
      from walhook.rollup_part p, edges e
     where p.minute >= since and p.minute < until and (webhook_hours.webhook is null or p.webhook_id = e.id)
  ), touched as materialized (
    select distinct p.hour, p.webhook_id from parts p
  ), finished as (
    -- NOT IN is looked up in a hash, however many there are. Two branches, so that each has the index it needs.
    select f.hour, f.webhook_id, f.webhook, f.log_rows, f.attempts, f.delivered, f.retried, f.given_up, f.success_percent, f.request_bytes,
           f.p50_ms, f.p95_ms, f.p99_ms, f.receipt_p50_ms, f.receipt_p95_ms, f.receipt_p99_ms
      from walhook.hour_figures f, edges e
     where webhook_hours.webhook is null and f.hour >= e.first and f.hour < e.behind
       and f.is_finished and (f.hour, f.webhook_id) not in (select t.hour, t.webhook_id from touched t)
    union all
    select f.hour, f.webhook_id, f.webhook, f.log_rows, f.attempts, f.delivered, f.retried, f.given_up, f.success_percent, f.request_bytes,
           f.p50_ms, f.p95_ms, f.p99_ms, f.receipt_p50_ms, f.receipt_p95_ms, f.receipt_p99_ms
      from walhook.hour_figures f, edges e
     where webhook_hours.webhook is not null and f.webhook_id = e.id and f.hour >= e.first and f.hour < e.behind
       and f.is_finished and (f.hour, f.webhook_id) not in (select t.hour, t.webhook_id from touched t)
  ), open as materialized (
    select f.hour, f.webhook_id from walhook.hour_figures f, edges e
     where not f.is_finished and f.hour >= e.first and f.hour < e.behind and (webhook_hours.webhook is null or f.webhook_id = e.id)
    union
    select t.hour, t.webhook_id from touched t, edges e where t.hour >= e.first and t.hour < e.behind
  ), chosen as materialized (
    select h.hour, h.webhook_id, h.webhook, h.outcome, h.log_rows, h.request_bytes, h.duration_buckets, h.duration_counts, h.receipt_buckets, h.receipt_counts
      from open o
     -- Looked up hour by hour, whatever the planner believes of their number: OFFSET keeps it from being joined otherwise.
     cross join lateral (
       select r.hour, r.webhook_id, r.webhook, r.outcome, r.log_rows, r.request_bytes, r.duration_buckets, r.duration_counts, r.receipt_buckets, r.receipt_counts
         from walhook.rollup_hour r where r.webhook_id = o.webhook_id and r.hour = o.hour offset 0) h
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
    select p.hour, p.webhook_id, p.webhook, p.outcome, p.log_rows, p.request_bytes, p.duration_buckets, p.duration_counts, p.receipt_buckets, p.receipt_counts
      from parts p
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
  select f.hour, f.webhook_id, f.webhook, f.log_rows, f.attempts, f.delivered, f.retried, f.given_up, f.success_percent, f.request_bytes,
         f.p50_ms, f.p95_ms, f.p99_ms, f.receipt_p50_ms, f.receipt_p95_ms, f.receipt_p99_ms
    from finished f
  union all
  select c.hour, c.webhook_id, c.webhook, c.log_rows, c.attempts, c.delivered, c.retried, c.given_up,
         round(100.0 * c.delivered / nullif(c.attempts, 0), 2), c.request_bytes,
         round(walhook.bucket_ms(p.p50)::numeric, 3), round(walhook.bucket_ms(p.p95)::numeric, 3), round(walhook.bucket_ms(p.p99)::numeric, 3),
         round(walhook.bucket_ms(p.receipt_p50)::numeric, 3), round(walhook.bucket_ms(p.receipt_p95)::numeric, 3),
         round(walhook.bucket_ms(p.receipt_p99)::numeric, 3)
    from counted c left join percentiles p using (hour, webhook_id)
   order by 1, 3
$$;
comment on function walhook.webhook_hours(timestamptz, timestamptz, text) is
  'Figures by hour (UTC) and webhook of a stretch of time, of all webhooks or of one (also of one that was deleted); at every moment those of walhook.webhook_rollup. Percentiles are within 1 %. The columns are those of walhook.webhook_hour. Hours that are over are read as they were worked out once (walhook.hour_figures).';

-- Working out ------------------------------------------------------------------------------------------------------------------

create or replace function walhook.finish_hours(most integer default 3) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  ended timestamptz;
  changed bigint;
  finished bigint := 0;
begin
  -- While somebody else merges, what is worked out here could be less than what he writes.
  if not pg_try_advisory_xact_lock(hashtextextended('walhook.merge_rollup', 0)) then return 0; end if;
  -- Five minutes for attempts that began in the hour; those that end later only make it be worked out again.
  for ended in
    select f.hour from walhook.hour_figures f where not f.is_finished and f.hour <= now() - interval '65 minutes'
     group by f.hour order by f.hour desc limit most
  loop
    update walhook.hour_figures f
       set is_finished = true, webhook = h.webhook, log_rows = h.log_rows, attempts = h.attempts, delivered = h.delivered, retried = h.retried,
           given_up = h.given_up, success_percent = h.success_percent, request_bytes = h.request_bytes, p50_ms = h.p50_ms, p95_ms = h.p95_ms,
           p99_ms = h.p99_ms, receipt_p50_ms = h.receipt_p50_ms, receipt_p95_ms = h.receipt_p95_ms, receipt_p99_ms = h.receipt_p99_ms
      from walhook.webhook_hours(ended, ended + interval '1 hour') h
     where f.hour = ended and f.webhook_id = h.webhook_id and h.hour = ended and not f.is_finished
       -- Those figures would hold what was appended since the merge: the next one finishes the hour.
       and not exists (select from walhook.rollup_part p where p.minute >= ended and p.minute < ended + interval '1 hour');
    get diagnostics changed = row_count;
    finished := finished + changed;
  end loop;
  return finished;
end $$;
comment on function walhook.finish_hours(integer) is
  'Works out the figures of at most so many hours that are over and not finished, the latest first (walhook.hour_figures). Each merge does it; until then walhook.webhook_hours adds up their histograms. Returns how many rows it finished.';

-- A trigger, so that no way of writing to the table leaves figures that are not its own.
create or replace function walhook.note_hours() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'TRUNCATE' then
    delete from walhook.hour_figures;
    return null;
  end if;
  if tg_op in ('INSERT', 'UPDATE') then
    -- The conflict is with what is finished: what is open already is not written to at each merge.
    insert into walhook.hour_figures (webhook_id, hour, is_finished)
      select distinct w.webhook_id, w.hour, false from written w
       where not exists (select from walhook.hour_figures f where f.webhook_id = w.webhook_id and f.hour = w.hour and not f.is_finished)
      on conflict on constraint hour_figures_pkey do update set is_finished = false;
  end if;
  if tg_op in ('DELETE', 'UPDATE') then
    update walhook.hour_figures f set is_finished = false
      from (select distinct o.webhook_id, o.hour from former o) o
     where f.webhook_id = o.webhook_id and f.hour = o.hour and f.is_finished;
    delete from walhook.hour_figures f
     using (select distinct o.webhook_id, o.hour from former o) o
     where f.webhook_id = o.webhook_id and f.hour = o.hour
       and not exists (select from walhook.rollup_hour h where h.webhook_id = o.webhook_id and h.hour = o.hour);
  end if;
  -- The last one of a merge's INSERT … ON CONFLICT DO UPDATE, which comes every time, also with no row.
  if tg_op = 'INSERT' then perform walhook.finish_hours(); end if;
  return null;
end $$;
comment on function walhook.note_hours() is
  'Trigger: what is written to walhook.rollup_hour opens its hours in walhook.hour_figures, and an INSERT (a merge) finishes what is over.';

create or replace trigger rollup_hour_10_update after update on walhook.rollup_hour
  referencing old table as former new table as written for each statement execute function walhook.note_hours();
create or replace trigger rollup_hour_20_insert after insert on walhook.rollup_hour
  referencing new table as written for each statement execute function walhook.note_hours();
create or replace trigger rollup_hour_30_delete after delete on walhook.rollup_hour
  referencing old table as former for each statement execute function walhook.note_hours();
create or replace trigger rollup_hour_40_truncate after truncate on walhook.rollup_hour
  for each statement execute function walhook.note_hours();

-- What is counted already -------------------------------------------------------------------------------------------------------

do $$
begin
  if exists (select from walhook.migration m where m.version = 180) then return; end if;
  insert into walhook.hour_figures (webhook_id, hour, is_finished)
    select distinct h.webhook_id, h.hour, false from walhook.rollup_hour h
    on conflict on constraint hour_figures_pkey do nothing;
  -- The latest hours first, for a minute at most: merges do the rest.
  loop
    exit when walhook.finish_hours(24) = 0 or clock_timestamp() > now() + interval '1 minute';
  end loop;
end $$;

-- Rights ---------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.finish_hours(integer), walhook.note_hours(), walhook.reported_webhook(text), walhook.check_stretch(timestamptz, timestamptz) from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.hour_figures to walhook_admin', 'grant select on walhook.hour_figures to walhook_analyst',
    'grant select on walhook.hour_figures to walhook_monitor',
    'grant execute on function walhook.reported_webhook(text), walhook.check_stretch(timestamptz, timestamptz) to walhook_admin', 'grant execute on function walhook.reported_webhook(text), walhook.check_stretch(timestamptz, timestamptz) to walhook_analyst',
    'grant execute on function walhook.reported_webhook(text), walhook.check_stretch(timestamptz, timestamptz) to walhook_monitor']);
  -- File 060 gives the bridge all that is there when it runs; run again, that is more than it has use for.
  if exists (select from pg_catalog.pg_roles r where r.rolname = 'walhook_bridge') then
    revoke select on walhook.hour_figures from walhook_bridge;
  end if;
end $$;

insert into walhook.migration (version, name) values (180, 'hour_figures') on conflict do nothing;

commit;
