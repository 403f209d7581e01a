-- Walhook 202: what a DBA meets at three in the morning. Nothing is shown of webhooks that were deleted;
-- a secret that signs nothing is said.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- States of deleted webhooks -----------------------------------------------------------------------------------------------

create or replace function walhook.forget_state() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  delete from walhook.webhook_state s where s.webhook_id = old.id;
  return null;
end $$;
comment on function walhook.forget_state() is
  'Trigger: what was said of a webhook goes with it. SECURITY DEFINER: webhook_state belongs to the bridge.';

create or replace function walhook.skip_state() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- The bridge may be in the middle of writing while somebody deletes the webhook: then it waits for that, and writes nothing.
  perform from walhook.webhook w where w.id = new.webhook_id for key share;
  if not found then return null; end if;
  return new;
end $$;
comment on function walhook.skip_state() is
  'Trigger: nothing is said of a webhook that was deleted. SECURITY DEFINER: it locks the webhook''s row against that, which the bridge may not change.';

create or replace trigger webhook_80_forget_state after delete on walhook.webhook
  for each row execute function walhook.forget_state();
create or replace trigger webhook_state_10_skip before insert on walhook.webhook_state
  for each row execute function walhook.skip_state();

delete from walhook.webhook_state s where not exists (select from walhook.webhook w where w.id = s.webhook_id);

comment on column walhook.webhook_state.webhook_id is 'Number of the webhook; the row goes with it.';

-- Secrets without signatures -----------------------------------------------------------------------------------------------

create or replace function walhook.notice_unsigned() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  raise notice 'webhook "%" signs nothing until enable_security is true', new.name
    using hint = format('update walhook.webhook set enable_security = true where name = %L;', new.name);
  return null;
end $$;
comment on function walhook.notice_unsigned() is 'Trigger: tells who writes a secret that nothing is signed with it yet.';

create or replace trigger webhook_74_unsigned after insert or update of webhook_secret on walhook.webhook
  for each row when (new.webhook_secret is not null and not new.enable_security) execute function walhook.notice_unsigned();

-- Rights -------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.forget_state(), walhook.skip_state(), walhook.notice_unsigned() from public;

insert into walhook.migration (version, name) values (202, 'at_night') on conflict do nothing;

commit;
