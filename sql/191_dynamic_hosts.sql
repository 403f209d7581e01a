-- Walhook 191: figures show no host that a row has decided.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

do $$
declare
  host constant text := 'Host and port of the URL; (dynamic) where a template makes them of a row, which figures must not show; empty where nothing was sent.';
begin
  execute format('comment on column walhook.rollup_part.host is %L', host);
  execute format('comment on column walhook.rollup_minute.host is %L', host);
  execute format('comment on column walhook.rollup_hour.host is %L', host);
  execute format('comment on column walhook.webhook_rollup.host is %L', host);
end $$;
comment on column walhook.failing_endpoint.host is 'Host and port of the URL; (dynamic): all those together that a template makes of rows.';

insert into walhook.migration (version, name) values (191, 'dynamic_hosts') on conflict do nothing;

commit;
