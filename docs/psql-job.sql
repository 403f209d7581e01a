-- A DBA's and an analyst's day in psql, without a superuser: set a webhook up, watch it, repair it, report on it.
--
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -v admin=alice -v analyst=bob -v app=app -v url=http://localhost:8080 -f docs/psql-job.sql
--
-- alice is a member of walhook_admin, bob of walhook_analyst; app owns the tables and is granted to walhook_owner. A bridge
-- runs; the receiver answers 200, but for the path /down. Run by test/e2e/psql-job.pg.test.ts.

\set QUIET on
\pset pager off

\c - :app
create table orders (id integer primary key, customer text, status text not null default 'Draft', total numeric);
grant select on orders to :admin;
insert into orders values (1, 'Ada', 'Draft', 99.90), (2, 'Bob', 'Draft', 12), (5, 'Eve', 'Paid', 50);

-- 1. Set up -----------------------------------------------------------------------------------------------------------

\c - :admin
\echo What could be watched, and what is in the way?
select doctype, key, replica_identity, events, problems from walhook.doctype where doctype = 'orders';

\echo A webhook in one call:
select * from walhook.add_webhook('orders', 'on_change', :'url' || '/paid', name => 'paid',
  condition => $$doc.status = 'Paid' and old.status is distinct from doc.status$$, data => '{"order": "id", "amount": "total"}', secret => walhook.generate_secret());

\echo A mistake is told in words:
\set ON_ERROR_STOP off
update walhook.webhook set condition = 'doc.state = 1' where name = 'paid';
\set ON_ERROR_STOP on
select :'LAST_ERROR_MESSAGE' ~ 'column doc.state does not exist' as ok \gset
\if :ok
\else
  \quit 3
\endif

\echo What would it send?
select fires, method, url, body, signature is not null as is_signed from walhook.preview('paid', '5', old => '{"status": "Draft"}');
select docname, fires, reason from walhook.preview('paid', condition => 'doc.total > 50');
select walhook.send_test('paid', '1') as test_id \gset

-- 2. Watch -----------------------------------------------------------------------------------------------------------

\c - :app
update orders set status = 'Paid' where id = 1;
update orders set customer = 'Bobby' where id = 2;
select pg_current_wal_lsn() as lsn \gset

\c - :analyst
\echo Waiting for the bridge:
select set_config('job.test_id', :'test_id', false) \gset ignored_
do $$
begin
  for i in 1..500 loop
    exit when exists (select from walhook.webhook_request_log where delivery_id = current_setting('job.test_id'))
      and exists (select from walhook.webhook_request_log where webhook = 'paid' and source = 'live' and outcome = 'delivered');
    perform pg_sleep(0.02);
  end loop;
end $$;
select webhook, docname, source, outcome, status_code, request_body from walhook.webhook_request_log where webhook = 'paid' order by sent_at;
select webhook, enabled, state, health, attempts, success_percent, queue_depth, dead_letters from walhook.status;
select state, slot_health, lag_bytes < 1000000 as is_near, last_error from walhook.bridge_status;
\echo Why did nothing arrive for order 2?
select webhook, docevent, verdict, reason from walhook.why('orders', '2');
select webhook, docevent, verdict, reason from walhook.why('orders', '1');

-- 3. Repair ----------------------------------------------------------------------------------------------------------

\c - :admin
insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, retry_schedule) values ('down', 'orders', 'after_insert', :'url' || '/down', '{}');
\c - :app
insert into orders values (3, 'Carol', 'Draft', 1), (4, 'Dan', 'Draft', 2);
\c - :admin
do $$
begin
  for i in 1..500 loop
    exit when (select count(*) from walhook.dead_letter where webhook = 'down') = 2;
    perform pg_sleep(0.02);
  end loop;
end $$;
select webhook, docname, attempts, last_error from walhook.dead_letter order by docname;
\echo Mend the URL, send one again, let the other go:
update walhook.webhook set request_url = :'url' || '/mended' where name = 'down';
select walhook.replay_dead_letters('down', docname => '3'), walhook.cancel_dead_letters('down', docname => '4');
do $$
begin
  for i in 1..500 loop
    exit when not exists (select from walhook.webhook_queue);
    perform pg_sleep(0.02);
  end loop;
end $$;
update walhook.webhook set enabled = false where name = 'down';

\echo Send an hour again; first how many that are:
select deliveries, replayable from walhook.replay('paid', since => now() - interval '1 hour', outcome => 'delivered');
select replay_id from walhook.replay('paid', since => now() - interval '1 hour', outcome => 'delivered', dry_run => false) \gset
do $$
begin
  for i in 1..500 loop
    exit when exists (select from walhook.replay_progress where state = 'done');
    perform pg_sleep(0.02);
  end loop;
end $$;
select webhook, state, deliveries, queued from walhook.replay_progress;
select walhook.pause('paid', 'maintenance of the ERP');
select webhook_id > 0 as is_paused, reason from walhook.paused;
select 'waits', walhook.cancel('paid', dry_run => true);
select walhook.resume('paid');

\echo Send rows that are there already, order 5:
select walhook.backfill('paid', 'doc.id = 5') as number \gset
do $$
begin
  for i in 1..500 loop
    exit when exists (select from walhook.backfill_progress where state in ('done', 'failed'));
    perform pg_sleep(0.02);
  end loop;
end $$;
select 'backfill', webhook, state, rows_done, percent from walhook.backfill_progress;

-- 4. Report ----------------------------------------------------------------------------------------------------------

\c - :analyst
select webhook, outcome, sum(log_rows) as log_rows from walhook.webhook_rollup group by 1, 2 order by 1, 2;
select webhook, attempts, delivered, success_percent, p50_ms is not null as has_p50, p99_ms is not null as has_p99 from walhook.webhook_hour order by webhook;
select webhook, host, failed from walhook.failing_endpoint;
select outcome, webhook, log_rows from walhook.top_error;
select webhook, docname, attempts, outcome from walhook.delivery order by last_sent_at;
select webhook, docname, duration_ms > 0 as ok from walhook.slowest limit 3;

\c - :admin
\echo Take out what one delivery carried:
select walhook.expunge(:'test_id');
\c - :analyst
select body_kept, request_body from walhook.webhook_request_log where delivery_id = :'test_id';
\echo done
