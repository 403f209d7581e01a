-- Walhook 130: how a webhook's receiver does: its circuit breaker, what failed since when, and when it is disabled.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- What the bridge says of a receiver ------------------------------------------------------------------------------------

alter table walhook.webhook_state
  add column if not exists health text not null default 'ok'
    constraint webhook_state_health_is_known check (health in ('ok', 'failing', 'opened', 'disabled')),
  add column if not exists breaker text not null default 'closed'
    constraint webhook_state_breaker_is_known check (breaker in ('closed', 'open', 'half_open')),
  add column if not exists breaker_opened_at timestamptz,
  add column if not exists breaker_until timestamptz,
  add column if not exists breaker_openings integer not null default 0,
  add column if not exists first_failure_at timestamptz,
  add column if not exists last_failure_at timestamptz,
  add column if not exists last_failure text;

comment on table walhook.webhook_state is
  'What the bridge has to say about a webhook: why it may not send (state), and how its receiver does (health, breaker). Written at most about once a second a webhook, and not at all while nothing changes.';
comment on column walhook.webhook_state.health is
  'ok; failing: five attempts in a row failed; opened: its breaker opened, and it has not recovered since; disabled: by itself, see last_error. Each change is a row of walhook.alert.';
comment on column walhook.webhook_state.breaker is
  'closed: it sends. open: nothing is sent until breaker_until, and no attempt is spent. half_open: one request at a time, then more, finds out whether the receiver is back.';
comment on column walhook.webhook_state.breaker_opened_at is 'When the breaker opened last; NULL while it is closed.';
comment on column walhook.webhook_state.breaker_until is 'Until when nothing is sent; NULL while the breaker is closed.';
comment on column walhook.webhook_state.breaker_openings is
  'How often the breaker has opened since it was closed; 0 where the receiver has asked for the pause (Retry-After).';
comment on column walhook.webhook_state.consecutive_failures is 'Attempts that failed since the last that succeeded, or since the webhook was enabled.';
comment on column walhook.webhook_state.first_failure_at is 'When the first of them failed.';
comment on column walhook.webhook_state.last_failure_at is 'When an attempt failed last.';
comment on column walhook.webhook_state.last_failure is 'Why.';
comment on column walhook.webhook_state.last_delivered_at is
  'When a delivery succeeded, to some ten seconds: while all goes well it is written no more often.';

-- Disabled after days without a success -----------------------------------------------------------------------------------

alter table walhook.webhook
  add column if not exists disable_after interval default '5 days'
    constraint webhook_disable_after_is_in_range check (disable_after between '1 hour' and '365 days'),
  add column if not exists disable_after_ms bigint default 432000000;
comment on column walhook.webhook.disable_after is
  'When no attempt has succeeded for so long, 1 hour to 365 days, and at least 20 failed, the webhook is disabled; its deliveries wait. One that has nothing to send is never disabled. NULL: never.';
comment on column walhook.webhook.disable_after_ms is 'disable_after in milliseconds. Filled by trigger.';

create or replace function walhook.fill_disable_after() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  if new.disable_after not between interval '1 hour' and interval '365 days' then
    raise exception 'webhook "%": disable_after is %', new.name, new.disable_after using errcode = 'invalid_parameter_value',
      hint = 'It is between 1 hour and 365 days; NULL: never.';
  end if;
  new.disable_after_ms := round(extract(epoch from new.disable_after) * 1000);
  return new;
end $$;
comment on function walhook.fill_disable_after() is 'Trigger: fills disable_after_ms.';

create or replace trigger webhook_24_disable_after before insert or update on walhook.webhook
  for each row execute function walhook.fill_disable_after();

create or replace function walhook.disable_webhook(number integer, reason text) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update walhook.webhook w set enabled = false where w.id = number and w.enabled;
  insert into walhook.webhook_state (webhook_id, name, state, health, last_error, last_error_at)
    select w.id, w.name, 'disabled', 'disabled', reason, now() from walhook.webhook w where w.id = number
    on conflict (webhook_id) do update
    set name = excluded.name, state = excluded.state, health = excluded.health, last_error = excluded.last_error,
      last_error_at = now(), updated_at = now();
end $$;
comment on function walhook.disable_webhook(integer, text) is
  'Disables a webhook whose receiver said 410 Gone, or failed for too long, and says so in walhook.webhook_state. Its open deliveries wait. SECURITY DEFINER: the bridge may change nothing else of a webhook.';

create or replace function walhook.forget_disabled() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update walhook.webhook_state s
     set state = case s.state when 'disabled' then 'ok' else s.state end,
         health = case s.health when 'disabled' then 'ok' else s.health end,
         breaker = 'closed', breaker_opened_at = null, breaker_until = null, breaker_openings = 0,
         consecutive_failures = 0, first_failure_at = null, updated_at = now()
   where s.webhook_id = new.id;
  return null;
end $$;
comment on function walhook.forget_disabled() is
  'Trigger: a webhook that is enabled again is not shown as disabled, and what failed before counts no more.';

-- Rights --------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.fill_disable_after() from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant execute on function walhook.fill_disable_after() to walhook_admin']);
end $$;

insert into walhook.migration (version, name) values (130, 'breaker') on conflict do nothing;

commit;
