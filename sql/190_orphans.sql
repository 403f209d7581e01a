-- Walhook 190: what an accepted gap cancels is counted, as everything else in the log is.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.cancel_orphans() returns integer
  language sql security invoker set search_path = pg_catalog, pg_temp
as $$
  with gone as (
    delete from walhook.webhook_queue q
     where not exists (select from walhook.webhook w where w.id = q.webhook_id)
    returning q.delivery_id, q.attempts, q.webhook_id, q.webhook, q.doctype, q.docname, q.docevent, q.source, q.commit_lsn, q.xid, q.commit_time
  ), logged as (
    insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source,
                                             outcome, error, lsn, xid, commit_time)
    select statement_timestamp(), g.delivery_id, g.attempts, g.webhook_id, g.webhook, g.doctype, g.docname, g.docevent, g.source,
           'cancelled', 'the webhook was deleted before this delivery could be made', g.commit_lsn, g.xid, g.commit_time
      from gone g
    returning 1
  ), counted as (
    insert into walhook.rollup_part (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
                                     duration_buckets, duration_counts, receipt_buckets, receipt_counts)
    select date_trunc('minute', statement_timestamp(), 'UTC'), g.webhook_id, max(g.webhook), 'cancelled', '', '', count(*)::integer, 0, '{}', '{}', '{}', '{}'
      from gone g group by g.webhook_id
  )
  select count(*)::integer from logged
$$;

insert into walhook.migration (version, name) values (190, 'orphans') on conflict do nothing;

commit;
