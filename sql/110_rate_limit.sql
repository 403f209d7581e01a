-- Walhook 110: how many requests a second a webhook makes at most.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

alter table walhook.webhook
  add column if not exists rate_limit numeric
    constraint webhook_rate_limit_is_in_range check (rate_limit between 0.001 and 100000);

comment on column walhook.webhook.rate_limit is
  'How many requests a second it makes at most, 0.001 to 100000 (0.1: one in ten seconds); NULL: no limit. What is beyond waits in walhook.webhook_queue and costs no attempt. A batch is one request.';

comment on column walhook.webhook_state.state is
  'ok, or why it does not send: held (its author lost a right), blocked (it may not go to its address), invalid, disabled, undecided.';

insert into walhook.migration (version, name) values (110, 'rate_limit') on conflict do nothing;

commit;
