-- Walhook 142: how every webhook does, and how the bridge does, each in one view.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

alter table walhook.bridge add column if not exists cursor_time timestamptz;
comment on column walhook.bridge.cursor_time is 'When the newest change of which a delivery was recorded had been committed.';

-- Each webhook -----------------------------------------------------------------------------------------------------------

create or replace function walhook.is_paused(number integer) returns boolean
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  -- The table comes with a later file.
  if to_regclass('walhook.paused') is null then return false; end if;
  return exists (select from walhook.paused p where p.webhook_id = number);
end $$;
comment on function walhook.is_paused(integer) is 'Whether walhook.pause has stopped a webhook, by its number.';

create or replace view walhook.status with (security_barrier) as
  select w.id as webhook_id, w.name as webhook, w.doctype, w.enabled, walhook.is_paused(w.id) as paused,
         coalesce(s.state, 'ok') as state, coalesce(s.health, 'ok') as health, coalesce(s.breaker, 'closed') as breaker, s.breaker_until,
         s.last_delivered_at as last_success_at, s.last_failure_at, coalesce(s.consecutive_failures, 0) as consecutive_failures,
         case when pg_catalog.has_column_privilege('walhook.webhook_state', 'last_failure', 'SELECT') then s.last_failure end as last_failure,
         case when pg_catalog.has_column_privilege('walhook.webhook_state', 'last_error', 'SELECT') then s.last_error end as last_error,
         coalesce(h.attempts, 0) as attempts, round(100.0 * coalesce(h.delivered, 0) / nullif(h.attempts, 0), 2) as success_percent,
         round(h.p[1]::numeric, 3) as p50_ms, round(h.p[2]::numeric, 3) as p95_ms, round(h.p[3]::numeric, 3) as p99_ms,
         q.depth as queue_depth, d.dead as dead_letters, q.oldest as oldest_commit_time, now() - q.oldest as oldest_age, n.next_attempt_at
  from walhook.webhook w
  left join walhook.webhook_state s on s.webhook_id = w.id
  cross join lateral (
    select sum(r.log_rows) as attempts, sum(r.log_rows) filter (where r.outcome = 'delivered') as delivered,
           (select walhook.percentiles(array_agg(b.bucket), array_agg(b.n), '{0.5,0.95,0.99}')
              from walhook.webhook_rollup p, unnest(p.duration_buckets::integer[], p.duration_counts::bigint[]) as b (bucket, n)
             where p.webhook_id = w.id and p.minute > now() - interval '1 hour') as p
      from walhook.webhook_rollup r
     where r.webhook_id = w.id and r.minute > now() - interval '1 hour'
       and r.outcome in ('delivered', 'retry', 'dead', 'blocked', 'error')) h
  cross join lateral (
    select count(*) as depth, min(o.commit_time) as oldest from walhook.webhook_queue o where o.webhook_id = w.id and not o.is_dead) q
  cross join lateral (select count(*) as dead from walhook.webhook_queue o where o.webhook_id = w.id and o.is_dead) d
  cross join lateral (
    select min(k.due_at) as next_attempt_at
      from (values ('request'), ('undecided')) v (kind),
           lateral (select o.due_at from walhook.webhook_queue o
                     where o.webhook_id = w.id and o.kind = v.kind and o.due_at is not null and not o.is_dead
                     order by o.due_at limit 1) k) n;

comment on view walhook.status is
  'One row a webhook: whether it sends, how its receiver does, its figures of the last hour (from walhook.webhook_rollup, percentiles within 1 %), and what waits in the queue.';
comment on column walhook.status.webhook_id is 'Number of the webhook.';
comment on column walhook.status.webhook is 'Its name.';
comment on column walhook.status.doctype is 'The table that it watches.';
comment on column walhook.status.enabled is 'Whether it is enabled.';
comment on column walhook.status.paused is 'Whether walhook.pause has stopped it: its deliveries wait.';
comment on column walhook.status.state is 'ok, or why it does not send: webhook_state.state.';
comment on column walhook.status.health is 'How its receiver does: ok, failing, opened, disabled.';
comment on column walhook.status.breaker is 'closed, open or half_open: webhook_state.breaker.';
comment on column walhook.status.breaker_until is 'Until when nothing is sent; NULL while the breaker is closed.';
comment on column walhook.status.last_success_at is 'When a delivery succeeded last, to some ten seconds.';
comment on column walhook.status.last_failure_at is 'When an attempt failed last.';
comment on column walhook.status.consecutive_failures is 'Attempts that failed since the last that succeeded.';
comment on column walhook.status.last_failure is 'Why that attempt failed; NULL for who may not read webhook_state.last_failure.';
comment on column walhook.status.last_error is 'Why it does not send, with the remedy; NULL for who may not read webhook_state.last_error.';
comment on column walhook.status.attempts is 'Attempts of the last hour, and deliveries that an error ended without one.';
comment on column walhook.status.success_percent is 'How many of them succeeded, in percent; NULL: there were none.';
comment on column walhook.status.p50_ms is 'Median of their durations in milliseconds.';
comment on column walhook.status.p95_ms is '95 of 100 took no longer.';
comment on column walhook.status.p99_ms is '99 of 100 took no longer.';
comment on column walhook.status.queue_depth is 'Deliveries that wait in the queue; empty on a good day.';
comment on column walhook.status.dead_letters is 'Deliveries that were given up and wait for somebody: walhook.dead_letter.';
comment on column walhook.status.oldest_commit_time is 'When the oldest change that waits was committed.';
comment on column walhook.status.oldest_age is 'How long ago that was.';
comment on column walhook.status.next_attempt_at is 'When the next attempt from the queue is due; the past means now, or as soon as breaker, rate limit or an enabled webhook let it.';

-- The bridge -------------------------------------------------------------------------------------------------------------

create or replace view walhook.bridge_status with (security_barrier) as
  select b.state, b.version, b.epoch, b.started_at, b.updated_at as last_checkpoint_at, b.cursor_time as last_change_at,
         greatest(t.tip - coalesce(s.confirmed_flush_lsn, b.flush_lsn), 0) as lag_bytes,
         -- Below a mebibyte it is what other tables and the bridge itself write.
         case when t.tip - coalesce(s.confirmed_flush_lsn, b.flush_lsn) <= 1048576 then 0
              else round(extract(epoch from now() - coalesce(b.cursor_time, b.started_at))::numeric, 1) end as lag_seconds,
         greatest(t.tip - s.restart_lsn, 0) as retained_wal_bytes,
         b.slot_name,
         case when b.slot_name is null then 'none'
              when s.slot_name is null then 'missing'
              when s.wal_status = 'lost' then 'lost'
              when s.wal_status = 'unreserved' then 'in danger'
              when not s.active then 'nobody reads it'
              else 'ok' end as slot_health,
         s.active as slot_active, s.wal_status, s.safe_wal_size,
         b.last_error, b.last_error_at, b.gap_kind, b.gap_from_lsn, b.gap_to_lsn, b.gap_detected_at, b.remedy,
         b.maintenance, b.maintenance_at
  from walhook.bridge b
  left join pg_catalog.pg_replication_slots s on s.slot_name = b.slot_name and s.database = current_database()
  cross join lateral (
    select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end as tip) t;

comment on view walhook.bridge_status is
  'One row: how the bridge and its slot do. Alert on state <> ''running'', slot_health <> ''ok'', lag_seconds, safe_wal_size.';
comment on column walhook.bridge_status.state is 'new, running, stopped, waiting, failed or gap: see bridge.state. After a crash it says what it said last; then slot_active is false.';
comment on column walhook.bridge_status.version is 'Version of the bridge.';
comment on column walhook.bridge_status.epoch is 'Raised at each start.';
comment on column walhook.bridge_status.started_at is 'When it started.';
comment on column walhook.bridge_status.last_checkpoint_at is 'When it last wrote; while nothing happens it does not.';
comment on column walhook.bridge_status.last_change_at is 'When the newest change of which a delivery was recorded had been committed.';
comment on column walhook.bridge_status.lag_bytes is 'WAL that is written and not acknowledged, of all databases and tables.';
comment on column walhook.bridge_status.lag_seconds is
  '0 up to a mebibyte of lag_bytes; beyond it how long ago last_change_at was: an upper bound, since what follows may be of tables that no webhook watches.';
comment on column walhook.bridge_status.retained_wal_bytes is 'WAL that the server keeps for the slot.';
comment on column walhook.bridge_status.slot_name is 'The replication slot.';
comment on column walhook.bridge_status.slot_health is
  'ok; nobody reads it: no bridge is connected, and WAL is kept; in danger: its WAL may go at the next checkpoint of the server; lost: it is gone; missing: the slot was dropped; none: no bridge has run yet.';
comment on column walhook.bridge_status.slot_active is 'Whether a bridge is connected to it.';
comment on column walhook.bridge_status.wal_status is 'As pg_replication_slots says: reserved, extended, unreserved, lost.';
comment on column walhook.bridge_status.safe_wal_size is 'Bytes that may still be written before the slot is in danger of being lost; NULL: max_slot_wal_keep_size sets no bound.';
comment on column walhook.bridge_status.last_error is 'The last error.';
comment on column walhook.bridge_status.last_error_at is 'When that was.';
comment on column walhook.bridge_status.gap_kind is 'What kind of gap is open; NULL: none.';
comment on column walhook.bridge_status.gap_from_lsn is 'Changes committed before this place were seen.';
comment on column walhook.bridge_status.gap_to_lsn is 'Changes committed up to this place may be missing.';
comment on column walhook.bridge_status.gap_detected_at is 'When the gap was found.';
comment on column walhook.bridge_status.remedy is 'What to do about last_error.';
comment on column walhook.bridge_status.maintenance is 'What the last look at the log''s partitions did, or why it failed.';
comment on column walhook.bridge_status.maintenance_at is 'When these words first held.';

-- The log without anything of a row ----------------------------------------------------------------------------------------

create or replace view walhook.log_figures as
  select sent_at, delivery_id, attempt, request_id, webhook_id, webhook, doctype, docevent, source, outcome, status_code, duration_ms,
         dns_ms, connect_ms, tls_ms, first_byte_ms, error_class, lsn, xid, commit_time, method, key_ids, request_bytes, body_kept
  from walhook.webhook_request_log;
comment on view walhook.log_figures is
  'The log without names of documents, URLs, headers, bodies and words of errors: for dashboards. Its columns are those of walhook.webhook_request_log.';

do $$
declare
  c record;
begin
  for c in
    select a.attname, col_description('walhook.webhook_request_log'::regclass, l.attnum) as said
      from pg_attribute a join pg_attribute l on l.attrelid = 'walhook.webhook_request_log'::regclass and l.attname = a.attname
     where a.attrelid = 'walhook.log_figures'::regclass and a.attnum > 0
  loop
    execute format('comment on column walhook.log_figures.%I is %L', c.attname, c.said);
  end loop;
end $$;

-- Rights -------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.is_paused(integer) from public;
do $$
declare
  reader text;
begin
  foreach reader in array array['walhook_bridge', 'walhook_admin', 'walhook_analyst', 'walhook_monitor'] loop
    perform walhook.grant_to_roles(array[
      'grant select on walhook.status, walhook.bridge_status to ' || reader, 'grant execute on function walhook.is_paused(integer) to ' || reader]);
  end loop;
  perform walhook.grant_to_roles(array[
    'grant select on walhook.log_figures to walhook_analyst', 'grant select on walhook.log_figures to walhook_monitor',
    'grant select on walhook.log_figures to walhook_admin', 'grant select on walhook.log_figures to walhook_bridge']);
end $$;

insert into walhook.migration (version, name) values (142, 'status') on conflict do nothing;

commit;
