-- Walhook 080: what a webhook says about failed deliveries, and what a DBA does about dead letters.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- A webhook's choices ---------------------------------------------------------------------------------------------

alter table walhook.webhook
  add column if not exists retry_schedule interval[],
  add column if not exists retry_schedule_ms bigint[],
  add column if not exists ordering boolean not null default true,
  add column if not exists on_exhausted text not null default 'continue'
    constraint webhook_on_exhausted_is_known check (on_exhausted in ('continue', 'hold'));

comment on column walhook.webhook.retry_schedule is
  'The delays before each further attempt; the first attempt is at once. NULL: {5 s, 30 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h}. {}: one attempt. `walhook schedule` prints it as a timeline.';
comment on column walhook.webhook.retry_schedule_ms is 'retry_schedule in milliseconds. Filled by trigger.';
comment on column walhook.webhook.ordering is
  'true: deliveries for one document leave in commit order, one at a time. false: each by itself, in no order.';
comment on column walhook.webhook.on_exhausted is
  'When the last attempt of a delivery failed: continue with the next one of its document, or hold that document''s deliveries until the dead letter is replayed or cancelled.';

create or replace function walhook.validate_retries() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  delay interval;
begin
  if new.on_exhausted is null or new.on_exhausted not in ('continue', 'hold') then
    raise exception 'webhook "%": on_exhausted is "%"', new.name, coalesce(new.on_exhausted, 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'Use continue or hold.';
  end if;
  if new.on_exhausted = 'hold' and not new.ordering then
    raise exception 'webhook "%": on_exhausted = hold needs ordering', new.name using errcode = 'invalid_parameter_value',
      detail = 'Without ordering a delivery waits for no other, so there is nothing to hold.';
  end if;
  if new.retry_schedule is null then
    new.retry_schedule_ms := null;
    return new;
  end if;
  if array_ndims(new.retry_schedule) > 1 or cardinality(new.retry_schedule) > 100 then
    raise exception 'webhook "%": retry_schedule has % delays in % dimensions', new.name, cardinality(new.retry_schedule), array_ndims(new.retry_schedule)
      using errcode = 'invalid_parameter_value', hint = 'A plain list of at most 100 delays, for example {5 s, 1 min, 1 h}.';
  end if;
  foreach delay in array new.retry_schedule loop
    if delay is null or extract(epoch from delay) not between 0 and 2592000 then
      raise exception 'webhook "%": retry_schedule has the delay %', new.name, coalesce(delay::text, 'NULL')
        using errcode = 'invalid_parameter_value', hint = 'Each is between 0 s and 30 days, for example {5 s, 1 min, 1 h}.';
    end if;
  end loop;
  new.retry_schedule_ms := array(
    select round(extract(epoch from d.delay) * 1000)::bigint from unnest(new.retry_schedule) with ordinality as d (delay, n) order by d.n);
  return new;
end $$;
comment on function walhook.validate_retries() is 'Trigger: refuses a schedule that cannot be kept; fills retry_schedule_ms.';

create or replace trigger webhook_22_retries before insert or update on walhook.webhook
  for each row execute function walhook.validate_retries();

-- The queue -------------------------------------------------------------------------------------------------------

alter table walhook.webhook_queue
  add column if not exists is_ordered boolean not null default true,
  add column if not exists holds_lane boolean not null default false
    constraint webhook_queue_holder_is_dead check (is_dead or not holds_lane);
comment on column walhook.webhook_queue.is_ordered is 'Whether it keeps the order of its document; false: it waits for nothing and nothing waits for it.';
comment on column walhook.webhook_queue.holds_lane is
  'A dead letter behind which the deliveries of its document wait, since its webhook says on_exhausted = hold.';

-- Each webhook's due deliveries are read by themselves, so that a long queue of one does not delay another.
create index if not exists webhook_queue_webhook_due_at_idx on walhook.webhook_queue (webhook_id, kind, due_at)
  where due_at is not null and not is_dead;
drop index if exists walhook.webhook_queue_due_at_idx;
-- Documents without a name stand in no lane; those that a TRUNCATE blocks are found by themselves.
create index if not exists webhook_queue_nameless_idx on walhook.webhook_queue (webhook_id)
  where docname is null and due_at is null and not is_dead;
-- Which TRUNCATE comes before a row. No index of all rows by position beside it: the planner would take that for a lane, too,
-- while its statistics are young, and read the whole queue of a webhook for each row.
create index if not exists webhook_queue_barrier_position_idx
  on walhook.webhook_queue (webhook_id, commit_lsn, change_lsn, change_index, event_number) where is_barrier;
drop index if exists walhook.webhook_queue_barrier_idx;
create index if not exists webhook_queue_dead_idx on walhook.webhook_queue (webhook_id, docname) where is_dead;

create or replace view walhook.dead_letter as
  select q.webhook, q.doctype, q.docname, q.docevent, q.delivery_id, q.attempts, q.last_error, q.commit_time, q.queued_at, q.holds_lane
  from walhook.webhook_queue q where q.is_dead;
comment on view walhook.dead_letter is
  'Deliveries that were given up: kept until somebody replays (walhook.replay_dead_letters) or cancels (walhook.cancel_dead_letters) them.';
comment on column walhook.dead_letter.webhook is 'Name of the webhook when the event was matched.';
comment on column walhook.dead_letter.doctype is 'The table.';
comment on column walhook.dead_letter.docname is 'Primary key of the row as text.';
comment on column walhook.dead_letter.docevent is 'What happened.';
comment on column walhook.dead_letter.delivery_id is 'The webhook-id.';
comment on column walhook.dead_letter.attempts is 'Attempts made.';
comment on column walhook.dead_letter.last_error is 'Why the last one failed.';
comment on column walhook.dead_letter.commit_time is 'When the change was committed.';
comment on column walhook.dead_letter.queued_at is 'When it came into the queue.';
comment on column walhook.dead_letter.holds_lane is 'Whether the deliveries of its document wait behind it.';

-- Repairs: rows that the bridge reads in the WAL, so that they act in order with the data and survive a restart ---------

create table if not exists walhook.repair (
  id bigint generated always as identity constraint repair_pkey primary key,
  kind text not null constraint repair_kind_is_known check (kind in ('replay', 'cancel')),
  webhook_id integer not null,
  docname text,
  delivery_id text,
  requested_by regrole not null,
  requested_at timestamptz not null default now()
);
alter table walhook.repair replica identity full;
comment on table walhook.repair is 'What was asked for about dead letters, and by whom. Written by walhook.replay_dead_letters and walhook.cancel_dead_letters.';
comment on column walhook.repair.id is 'Number of the request.';
comment on column walhook.repair.kind is 'replay: all attempts once more; cancel: taken out of the queue, with a log row.';
comment on column walhook.repair.webhook_id is 'Number of the webhook whose dead letters are meant.';
comment on column walhook.repair.docname is 'Those of this document only; NULL: of all.';
comment on column walhook.repair.delivery_id is 'This one only; NULL: all.';
comment on column walhook.repair.requested_by is 'Who asked. Filled by trigger.';
comment on column walhook.repair.requested_at is 'When.';

create or replace function walhook.set_requester() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.requested_by := current_user::regrole;
  new.requested_at := now();
  return new;
end $$;
comment on function walhook.set_requester() is 'Trigger: who asks for a repair is written down, whatever the statement says.';

create or replace trigger repair_10_requester before insert on walhook.repair
  for each row execute function walhook.set_requester();
create or replace trigger repair_00_truncate before truncate on walhook.repair
  for each statement execute function walhook.refuse_truncate();

do $$
begin
  if not exists (
    select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
     where p.pubname = 'walhook_all' and r.prrelid = 'walhook.repair'::regclass) then
    alter publication walhook_all add table walhook.repair;
  end if;
end $$;

create or replace function walhook.ask_for_repair(kind text, webhook text, docname text, delivery_id text) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number integer;
  concerned bigint;
begin
  select w.id into number from walhook.webhook w where w.name = ask_for_repair.webhook;
  if number is null then
    raise exception 'there is no webhook "%"', ask_for_repair.webhook using errcode = 'no_data_found',
      hint = 'Names stand in walhook.webhook; dead letters in walhook.dead_letter.';
  end if;
  select count(*) into concerned from walhook.webhook_queue q
   where q.webhook_id = number and q.is_dead
     and (ask_for_repair.docname is null or q.docname = ask_for_repair.docname)
     and (ask_for_repair.delivery_id is null or q.delivery_id = ask_for_repair.delivery_id);
  if concerned > 0 then
    insert into walhook.repair (kind, webhook_id, docname, delivery_id)
      values (ask_for_repair.kind, number, ask_for_repair.docname, ask_for_repair.delivery_id);
  end if;
  return concerned;
end $$;
comment on function walhook.ask_for_repair(text, text, text, text) is 'Writes a row of walhook.repair; returns how many dead letters it is about.';

create or replace function walhook.replay_dead_letters(webhook text, docname text default null, delivery_id text default null) returns bigint
  language sql security invoker set search_path = pg_catalog, pg_temp
as $$ select walhook.ask_for_repair('replay', webhook, docname, delivery_id) $$;
comment on function walhook.replay_dead_letters(text, text, text) is
  'Gives a webhook''s dead letters all their attempts once more: same webhook-id, same bytes. All of them, those of one document, or one. Returns how many. Takes effect after the commit, as soon as the bridge has read it.';

create or replace function walhook.cancel_dead_letters(webhook text, docname text default null, delivery_id text default null) returns bigint
  language sql security invoker set search_path = pg_catalog, pg_temp
as $$ select walhook.ask_for_repair('cancel', webhook, docname, delivery_id) $$;
comment on function walhook.cancel_dead_letters(text, text, text) is
  'Takes a webhook''s dead letters out of the queue, with a log row each; what waits behind one goes on. All of them, those of one document, or one. Returns how many.';

-- 410 Gone ----------------------------------------------------------------------------------------------------------

create or replace function walhook.disable_webhook(number integer, reason text) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update walhook.webhook w set enabled = false where w.id = number and w.enabled;
  insert into walhook.webhook_state (webhook_id, name, state, last_error, last_error_at)
    select w.id, w.name, 'disabled', reason, now() from walhook.webhook w where w.id = number
    on conflict (webhook_id) do update
    set name = excluded.name, state = excluded.state, last_error = excluded.last_error, last_error_at = now(), updated_at = now();
end $$;
comment on function walhook.disable_webhook(integer, text) is
  'Disables a webhook whose receiver said 410 Gone, and says so in walhook.webhook_state. Its open deliveries wait. SECURITY DEFINER: the bridge may change nothing else of a webhook.';

create or replace function walhook.forget_disabled() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update walhook.webhook_state s set state = 'ok', updated_at = now() where s.webhook_id = new.id and s.state = 'disabled';
  return null;
end $$;
comment on function walhook.forget_disabled() is 'Trigger: a webhook that is enabled again is not shown as disabled.';

create or replace trigger webhook_60_enabled after update on walhook.webhook
  for each row when (new.enabled and not old.enabled) execute function walhook.forget_disabled();

-- Rights --------------------------------------------------------------------------------------------------------------

revoke all on function walhook.validate_retries(), walhook.set_requester(), walhook.ask_for_repair(text, text, text, text),
  walhook.replay_dead_letters(text, text, text), walhook.cancel_dead_letters(text, text, text),
  walhook.disable_webhook(integer, text), walhook.forget_disabled() from public;

create or replace function walhook.grant_to_roles(statements text[]) returns void
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  statement text;
  role_name text;
begin
  foreach statement in array statements loop
    role_name := substring(statement from ' to (walhook_[a-z]+)$');
    if exists (select from pg_roles r where r.rolname = role_name) then
      execute statement;
    else
      raise notice 'role % does not exist: skipped %', role_name, split_part(statement, ' to ', 1);
    end if;
  end loop;
end $$;
comment on function walhook.grant_to_roles(text[]) is
  'Runs GRANT statements that end in "to walhook_…"; those to roles that do not exist are skipped with a NOTICE. For the installing role, as itself.';
revoke all on function walhook.grant_to_roles(text[]) from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.repair, walhook.dead_letter to walhook_bridge',
    'grant execute on function walhook.disable_webhook(integer, text) to walhook_bridge',
    'grant select, insert on walhook.repair to walhook_admin',
    'grant execute on function walhook.validate_retries(), walhook.set_requester(), walhook.ask_for_repair(text, text, text, text), '
      'walhook.replay_dead_letters(text, text, text), walhook.cancel_dead_letters(text, text, text) to walhook_admin',
    'grant select on walhook.dead_letter to walhook_admin',
    'grant select on walhook.dead_letter to walhook_analyst'
  ]);
end $$;

insert into walhook.migration (version, name) values (80, 'retries') on conflict do nothing;

commit;
