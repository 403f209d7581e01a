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

-- A receiver that is gone -----------------------------------------------------------------------------------------------------

create or replace function walhook.disable_webhook(number integer, reason text, url text) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- Where somebody is changing the URL, this waits for that, and finds another one.
  update walhook.webhook w set enabled = false where w.id = number and w.enabled and w.request_url = url;
  if not found then return; end if;
  insert into walhook.webhook_state (webhook_id, name, state, health, last_error, last_error_at)
    select w.id, w.name, 'disabled', 'disabled', reason, now() from walhook.webhook w where w.id = number
    on conflict (webhook_id) do update
    set name = excluded.name, state = excluded.state, health = excluded.health, last_error = excluded.last_error,
      last_error_at = now(), updated_at = now();
end $$;
comment on function walhook.disable_webhook(integer, text, text) is
  'Disables a webhook whose receiver at this URL said 410 Gone, or failed for too long, and says so in walhook.webhook_state; one that goes elsewhere by now stays as it is. Its open deliveries wait. SECURITY DEFINER: the bridge may change nothing else of a webhook.';

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

-- Cancelled while a request is under way ---------------------------------------------------------------------------------------

alter table walhook.webhook_queue add column if not exists cancelled_by text;
comment on column walhook.webhook_queue.cancelled_by is
  'Who has cancelled it while a request of it was under way: it ends with that; where the bridge ends before, the next one takes it out. NULL: nobody.';

-- Not to wait for the next attempt -----------------------------------------------------------------------------------------

alter table walhook.repair drop constraint if exists repair_kind_is_known;
alter table walhook.repair add constraint repair_kind_is_known
  check (kind in ('replay', 'cancel', 'replay_log', 'stop_replay', 'cancel_waiting', 'retry_now'));
comment on column walhook.repair.kind is
  'replay: all attempts of dead letters once more; cancel: dead letters taken out of the queue; replay_log: deliveries of the log sent again; stop_replay: no more of those; cancel_waiting: everything of the queue taken out; retry_now: what waits for its time is due now (the row goes when the bridge has met it).';

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
  -- So many at a time, since whatever the bridge does for one webhook it does between the deliveries of all.
  return least(concerned, 10000);
end $$;
comment on function walhook.retry_now(text, text) is
  'Makes due now what a webhook has waiting for its next attempt, all of it or that of one document, 10,000 at most, the soonest first: for a receiver that is back. Returns how many; what waits behind them follows. Takes effect when the bridge meets the commit; without one, when it runs again. A pause, an open breaker and a rate limit still hold: walhook.pause and then walhook.resume close the breaker. An attempt that fails counts, and dead letters are not meant: walhook.replay_dead_letters.';

-- Rights -------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.forget_state(), walhook.skip_state(), walhook.notice_unsigned(), walhook.disable_webhook(integer, text, text), walhook.retry_now(text, text) from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant execute on function walhook.retry_now(text, text) to walhook_admin', 'grant delete on walhook.repair to walhook_bridge', 'grant execute on function walhook.disable_webhook(integer, text, text) to walhook_bridge']);
end $$;

insert into walhook.migration (version, name) values (202, 'at_night') on conflict do nothing;

commit;
