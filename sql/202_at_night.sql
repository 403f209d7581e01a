-- Walhook 202: what a DBA meets at three in the morning. Nothing is shown of webhooks that were deleted;
-- a secret that signs nothing is said; what waits for its time can be sent now.
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

-- Not to wait for the next attempt -----------------------------------------------------------------------------------------

alter table walhook.repair drop constraint if exists repair_kind_is_known;
alter table walhook.repair add constraint repair_kind_is_known
  check (kind in ('replay', 'cancel', 'replay_log', 'stop_replay', 'cancel_waiting', 'retry_now'));
comment on column walhook.repair.kind is
  'replay: all attempts of dead letters once more; cancel: dead letters taken out of the queue; replay_log: deliveries of the log sent again; stop_replay: no more of those; cancel_waiting: everything of the queue taken out; retry_now: what waits for its time is due now (there until the commit only).';

create or replace function walhook.hasten() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- What the bridge is writing at this moment gets its time from there.
  update walhook.webhook_queue q set due_at = now()
    from (select o.delivery_id from walhook.webhook_queue o
           where o.webhook_id = new.webhook_id and (new.docname is null or o.docname = new.docname) and o.due_at > now() and not o.is_dead
             for update skip locked) f
   where q.delivery_id = f.delivery_id;
  -- The bridge meets the row in the WAL all the same, and looks into the queue.
  delete from walhook.repair r where r.id = new.id;
  return null;
end $$;
comment on function walhook.hasten() is
  'Trigger: makes due what walhook.retry_now means, at the commit, so that nobody''s open transaction holds rows of the queue. SECURITY DEFINER: the queue belongs to the bridge.';

do $$
begin
  if not exists (select from pg_trigger t where t.tgrelid = 'walhook.repair'::regclass and t.tgname = 'repair_80_hasten') then
    create constraint trigger repair_80_hasten after insert on walhook.repair deferrable initially deferred
      for each row when (new.kind = 'retry_now') execute function walhook.hasten();
  end if;
end $$;

create or replace function walhook.retry_now(webhook text, docname text default null) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := walhook.webhook_number(webhook);
  named constant text := walhook.docname_of_webhook(number, docname);
  concerned bigint;
begin
  select count(*) into concerned from walhook.webhook_queue q
   where q.webhook_id = number and (named is null or q.docname = named) and q.due_at > now() and not q.is_dead;
  if concerned > 0 then
    insert into walhook.repair (kind, webhook_id, docname) values ('retry_now', number, named);
  end if;
  return concerned;
end $$;
comment on function walhook.retry_now(text, text) is
  'Makes due now what a webhook has waiting for its next attempt, all of it or that of one document: for a receiver that is back. Returns how many; what waits behind them follows. Takes effect at the commit; a running bridge looks within 30 s, mostly at once. A pause, an open breaker and a rate limit still hold: walhook.pause and then walhook.resume close the breaker. An attempt that fails counts, and dead letters are not meant: walhook.replay_dead_letters.';

-- Rights -------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.forget_state(), walhook.skip_state(), walhook.notice_unsigned(), walhook.hasten(), walhook.retry_now(text, text) from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant execute on function walhook.retry_now(text, text) to walhook_admin']);
end $$;

insert into walhook.migration (version, name) values (202, 'at_night') on conflict do nothing;

commit;
