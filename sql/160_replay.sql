-- Walhook 160: sending again what was sent, cancelling what waits, and pausing a webhook. All are rows that the bridge reads
-- in the WAL, so they act in order with the data and survive a restart.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- Pausing: new events go on into the queue ---------------------------------------------------------------------------------

create table if not exists walhook.paused (
  webhook_id integer constraint paused_pkey primary key
    constraint paused_webhook_id_fkey references walhook.webhook (id) on delete cascade,
  reason text,
  paused_by regrole not null,
  paused_at timestamptz not null default now()
);
alter table walhook.paused replica identity full;
comment on table walhook.paused is
  'Webhooks that send nothing for now; what happens meanwhile waits in the queue. Written by walhook.pause and walhook.resume; configuration, like walhook.webhook.';
comment on column walhook.paused.webhook_id is 'Number of the webhook.';
comment on column walhook.paused.reason is 'Why, in the words of who paused it.';
comment on column walhook.paused.paused_by is 'Who paused it. Filled by trigger.';
comment on column walhook.paused.paused_at is 'When. Filled by trigger.';

create or replace function walhook.set_pauser() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.paused_by := quote_ident(current_user)::regrole;
  new.paused_at := now();
  return new;
end $$;
comment on function walhook.set_pauser() is 'Trigger: who pauses a webhook is written down, whatever the statement says.';

create or replace trigger paused_10_pauser before insert or update on walhook.paused
  for each row execute function walhook.set_pauser();
create or replace trigger paused_00_truncate before truncate on walhook.paused
  for each statement execute function walhook.refuse_truncate();

create or replace function walhook.webhook_number(webhook text) returns integer
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number integer;
begin
  select w.id into number from walhook.webhook w where w.name = webhook_number.webhook;
  if number is null then
    raise exception 'there is no webhook "%"', webhook using errcode = 'no_data_found', hint = 'Names stand in walhook.webhook.';
  end if;
  return number;
end $$;
comment on function walhook.webhook_number(text) is 'The number of a webhook by its name; an error where there is none.';

create or replace function walhook.pause(webhook text, reason text default null) returns boolean
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := walhook.webhook_number(webhook);
  changed bigint;
begin
  insert into walhook.paused (webhook_id, reason) values (number, pause.reason) on conflict do nothing;
  get diagnostics changed = row_count;
  return changed > 0;
end $$;
comment on function walhook.pause(text, text) is
  'Stops sending for a webhook after the commit, but for requests under way: events go on being matched, and wait in the queue, in order. (enabled = false, in contrast, lets new events pass by.) walhook.resume goes on. Returns false where it was paused already.';

create or replace function walhook.resume(webhook text) returns boolean
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := walhook.webhook_number(webhook);
  changed bigint;
begin
  delete from walhook.paused p where p.webhook_id = number;
  get diagnostics changed = row_count;
  return changed > 0;
end $$;
comment on function walhook.resume(text) is 'Goes on sending for a webhook that walhook.pause has stopped; what waits leaves in order. Returns false where it was not paused.';

-- What may be asked for ------------------------------------------------------------------------------------------------------

alter table walhook.repair
  add column if not exists since timestamptz,
  add column if not exists until timestamptz,
  add column if not exists from_lsn pg_lsn,
  add column if not exists to_lsn pg_lsn,
  add column if not exists outcome text,
  add column if not exists rate real,
  add column if not exists replay_id bigint;
alter table walhook.repair drop constraint if exists repair_kind_is_known;
alter table walhook.repair add constraint repair_kind_is_known check (kind in ('replay', 'cancel', 'replay_log', 'stop_replay', 'cancel_waiting'));
alter table walhook.repair drop constraint if exists repair_rate_is_positive;
alter table walhook.repair add constraint repair_rate_is_positive check (rate > 0);

comment on table walhook.repair is
  'What was asked for about deliveries, and by whom. Written by walhook.replay, walhook.cancel, walhook.stop_replay, walhook.replay_dead_letters and walhook.cancel_dead_letters.';
comment on column walhook.repair.kind is
  'replay: all attempts of dead letters once more; cancel: dead letters taken out of the queue; replay_log: deliveries of the log sent again; stop_replay: no more of those; cancel_waiting: everything of the queue taken out.';
comment on column walhook.repair.webhook_id is 'Number of the webhook whose deliveries are meant.';
comment on column walhook.repair.since is 'replay_log: sent at or after; cancel_waiting: committed at or after. NULL: no bound.';
comment on column walhook.repair.until is 'Likewise: before.';
comment on column walhook.repair.from_lsn is 'Commit LSN at or after. NULL: no bound.';
comment on column walhook.repair.to_lsn is 'Commit LSN at or before. NULL: no bound.';
comment on column walhook.repair.outcome is 'replay_log: how the deliveries ended; NULL: however.';
comment on column walhook.repair.rate is 'replay_log: deliveries a second at most.';
comment on column walhook.repair.replay_id is 'stop_replay: which replay.';

-- Replaying from the log -------------------------------------------------------------------------------------------------------

create table if not exists walhook.replay_state (
  replay_id bigint constraint replay_state_pkey primary key,
  webhook_id integer not null,
  docname text,
  delivery_id text,
  since timestamptz,
  until timestamptz,
  from_lsn pg_lsn,
  to_lsn pg_lsn,
  outcome text,
  rate real not null,
  state text not null default 'new' constraint replay_state_is_known check (state in ('new', 'running', 'done', 'stopped', 'failed')),
  deliveries bigint,
  queued bigint not null default 0,
  skipped bigint not null default 0,
  error text,
  requested_by text not null,
  requested_at timestamptz not null,
  started_at timestamptz,
  ended_at timestamptz
);
comment on table walhook.replay_state is 'Replays that the bridge knows of, and how far they are. Written by the bridge; see walhook.replay_progress.';
comment on column walhook.replay_state.replay_id is 'Number of the replay: that of its row in walhook.repair.';
comment on column walhook.replay_state.webhook_id is 'Number of the webhook.';
comment on column walhook.replay_state.docname is 'As in walhook.repair.';
comment on column walhook.replay_state.delivery_id is 'As in walhook.repair.';
comment on column walhook.replay_state.since is 'As in walhook.repair.';
comment on column walhook.replay_state.until is 'As in walhook.repair.';
comment on column walhook.replay_state.from_lsn is 'As in walhook.repair.';
comment on column walhook.replay_state.to_lsn is 'As in walhook.repair.';
comment on column walhook.replay_state.outcome is 'As in walhook.repair.';
comment on column walhook.replay_state.rate is 'Deliveries a second at most.';
comment on column walhook.replay_state.state is 'new: not begun; running; done: all are in the queue or beyond; stopped: by walhook.stop_replay; failed: see error.';
comment on column walhook.replay_state.deliveries is 'How many there are to send again; NULL: not counted yet.';
comment on column walhook.replay_state.queued is 'How many of them went into the queue so far.';
comment on column walhook.replay_state.skipped is 'How many could not be sent again when their turn came: taken out of the log meanwhile, or open in the queue already.';
comment on column walhook.replay_state.error is 'Why it failed.';
comment on column walhook.replay_state.requested_by is 'Who asked for it.';
comment on column walhook.replay_state.requested_at is 'When it was asked for.';
comment on column walhook.replay_state.started_at is 'When its deliveries were chosen.';
comment on column walhook.replay_state.ended_at is 'When it ended.';

create table if not exists walhook.replay_item (
  replay_id bigint not null constraint replay_item_replay_id_fkey references walhook.replay_state (replay_id) on delete cascade,
  delivery_id text collate "C" not null,
  attempt integer not null,
  sent_at timestamptz not null,
  constraint replay_item_pkey primary key (replay_id, delivery_id)
);
comment on table walhook.replay_item is 'Deliveries that a replay has still to put into the queue, by the row of the log that has what was sent. Written by the bridge.';
comment on column walhook.replay_item.replay_id is 'Number of the replay.';
comment on column walhook.replay_item.delivery_id is 'The delivery; ids sort as the changes did.';
comment on column walhook.replay_item.attempt is 'Which attempt.';
comment on column walhook.replay_item.sent_at is 'When that was.';

create or replace function walhook.replayable(
    webhook_id integer, docname text, delivery_id text, since timestamptz, until timestamptz, from_lsn pg_lsn, to_lsn pg_lsn, outcome text)
  returns table (delivery text, attempt integer, sent_at timestamptz, problem text)
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  w record;
  has_rendered_headers boolean;
  first_at timestamptz := since;
  last_at timestamptz := until;
begin
  select h.doctype, h.is_dynamic_url, h.request_url ~ '//[^/?#]*@' as has_credentials into w from walhook.webhook h where h.id = replayable.webhook_id;
  has_rendered_headers := exists (select from walhook.webhook_header h
    where h.webhook_id = replayable.webhook_id and h.value like '%{{%' and lower(h.key) <> 'content-type');
  if replayable.delivery_id is not null then
    -- So that only its own part of the log is read.
    select greatest(first_at, min(l.sent_at)), least(last_at, max(l.sent_at) + interval '1 us') into first_at, last_at
      from walhook.webhook_request_log l where l.delivery_id = replayable.delivery_id;
  end if;
  return query
    with whole_batch as (
      select distinct l.sent_at, l.request_id from walhook.webhook_request_log l
       where l.webhook_id = replayable.webhook_id and l.sent_at >= coalesce(first_at, '-infinity') and l.sent_at < coalesce(last_at, 'infinity')
         and l.request_id <> l.delivery_id and l.body_kept = 'whole' and l.request_body is not null
    ), attempted as (
      select l.delivery_id, l.attempt, l.sent_at, l.outcome, l.doctype,
             case when l.attempt = 0 then false
                  when l.body_kept = 'batch' then b.request_id is not null
                  -- Rows from before body_kept are whole.
                  else coalesce(l.body_kept, 'whole') = 'whole' and l.request_body is not null and l.request_headers is not null end as is_whole
        from walhook.webhook_request_log l
        left join whole_batch b on b.sent_at = l.sent_at and b.request_id = l.request_id and l.body_kept = 'batch'
       where l.webhook_id = replayable.webhook_id and l.source <> 'test'
         and l.sent_at >= coalesce(first_at, '-infinity') and l.sent_at < coalesce(last_at, 'infinity')
         and (replayable.delivery_id is null or l.delivery_id = replayable.delivery_id)
         and (replayable.docname is null or l.docname = replayable.docname)
         and (from_lsn is null or l.lsn >= from_lsn) and (to_lsn is null or l.lsn <= to_lsn)
    ), latest as (
      select distinct on (a.delivery_id) a.delivery_id, a.outcome, a.doctype
        from attempted a order by a.delivery_id, a.sent_at desc, a.attempt desc
    ), body as (
      select distinct on (a.delivery_id) a.delivery_id, a.attempt, a.sent_at
        from attempted a where a.is_whole order by a.delivery_id, a.sent_at desc, a.attempt desc
    )
    select e.delivery_id, b.attempt, b.sent_at,
           case when w.doctype is distinct from e.doctype then 'its webhook is on another table now'
                when q.delivery_id is not null then 'it is open: it waits in the queue already'
                when b.delivery_id is null then 'the log has not kept what was sent'
                when has_rendered_headers then 'the log does not keep rendered headers'
                when w.is_dynamic_url and w.has_credentials then 'the log does not keep credentials in a URL' end
      from latest e
      left join body b on b.delivery_id = e.delivery_id
      left join walhook.webhook_queue q on q.delivery_id = e.delivery_id and not q.is_dead
     where replayable.outcome is null or e.outcome = replayable.outcome;
end $$;
comment on function walhook.replayable(integer, text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, text) is
  'The deliveries of a webhook that a replay would be about, each with the row of the log that has all of what was sent, or why it cannot be sent again. Shows no payload; for walhook.replay and the bridge.';

create or replace function walhook.replay(
    webhook text, delivery_id text default null, since timestamptz default null, until timestamptz default null,
    from_lsn pg_lsn default null, to_lsn pg_lsn default null, outcome text default null, docname text default null,
    rate real default 50, dry_run boolean default true,
    out deliveries bigint, out replayable bigint, out not_replayable bigint, out reasons jsonb, out replay_id bigint)
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := walhook.webhook_number(webhook);
  known constant text[] := '{delivered,dead,retry,blocked,cancelled,undecidable,error}';
  -- What is logged from now on is not meant: it may be this replay's own.
  bound constant timestamptz := least(until, clock_timestamp());
  mine record;
begin
  if delivery_id is null and since is null and until is null and from_lsn is null and to_lsn is null and outcome is null and docname is null then
    raise exception 'nothing says which deliveries of "%" are meant', webhook using errcode = 'invalid_parameter_value',
      hint = 'Name a delivery_id, a docname, an outcome, or a range by since and until or by from_lsn and to_lsn. For everything: since => ''-infinity''.';
  end if;
  if outcome is not null and outcome <> all (known) then
    raise exception 'there is no outcome "%"', outcome using errcode = 'invalid_parameter_value', hint = 'There are ' || array_to_string(known, ', ') || '.';
  end if;
  if rate is null or rate <= 0 or rate > 100000 then
    raise exception 'rate is %', coalesce(rate::text, 'NULL') using errcode = 'invalid_parameter_value', hint = 'Deliveries a second, for example 50.';
  end if;
  -- What is sent is the webhook's rows: for those alone who could say so in a webhook of their own.
  select p.problem, p.remedy into mine from walhook.webhook w, walhook.author_problem(quote_ident(current_user)::regrole, w.doctype_oid) p where w.id = number;
  if mine.problem is not null then
    raise exception 'webhook "%": %', webhook, mine.problem using errcode = 'insufficient_privilege',
      detail = 'Who has a webhook''s deliveries sent again must be able to be its author.', hint = mine.remedy;
  end if;
  select coalesce(sum(c.n), 0), coalesce(sum(c.n) filter (where c.problem is null), 0), coalesce(sum(c.n) filter (where c.problem is not null), 0),
         coalesce(jsonb_object_agg(c.problem, c.n) filter (where c.problem is not null), '{}')
    into deliveries, replayable, not_replayable, reasons
    from (select r.problem, count(*) as n
            from walhook.replayable(number, docname, delivery_id, since, bound, from_lsn, to_lsn, outcome) r group by r.problem) c;
  if dry_run then
    raise notice 'nothing is sent again by this: % of % deliveries could be', replayable, deliveries using hint = 'dry_run => false does it.';
  elsif replayable > 0 then
    insert into walhook.repair (kind, webhook_id, docname, delivery_id, since, until, from_lsn, to_lsn, outcome, rate)
      values ('replay_log', number, docname, delivery_id, since, bound, from_lsn, to_lsn, outcome, rate) returning id into replay_id;
  end if;
end $$;
comment on function walhook.replay(text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, text, text, real, boolean) is
  'Sends deliveries of a webhook again, from the log: same webhook-id, same bytes, signed anew, source = replay, with all attempts. Which: by delivery_id, docname, when they were sent (since, until), the commit LSN of their change, how they ended (outcome). By default it only says how many there are, and why some cannot be sent again; dry_run => false does it, after the commit, at most rate a second and in the order of the changes. They stand in no lane: nothing waits for them. walhook.replay_progress shows how far it is, walhook.stop_replay ends it.';

create or replace function walhook.stop_replay(replay_id bigint) returns boolean
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  asked record;
begin
  select r.webhook_id into asked from walhook.repair r where r.id = stop_replay.replay_id and r.kind = 'replay_log';
  if asked.webhook_id is null then
    raise exception 'there is no replay %', replay_id using errcode = 'no_data_found', hint = 'They stand in walhook.replay_progress.';
  end if;
  if exists (select from walhook.replay_progress p where p.replay_id = stop_replay.replay_id and p.state in ('done', 'stopped', 'failed')) then
    return false;
  end if;
  insert into walhook.repair (kind, webhook_id, replay_id) values ('stop_replay', asked.webhook_id, stop_replay.replay_id);
  return true;
end $$;
comment on function walhook.stop_replay(bigint) is
  'Puts nothing more of a replay into the queue; what is there already is sent, unless walhook.cancel takes it out. Returns false where it had ended.';

create or replace view walhook.replay_progress as
  select r.id as replay_id, coalesce(w.name, '') as webhook, coalesce(s.state, 'new') as state, s.deliveries, coalesce(s.queued, 0) as queued,
         coalesce(s.skipped, 0) as skipped,
         case when s.deliveries > 0 then round(100.0 * (s.queued + s.skipped) / s.deliveries, 1) end as percent,
         r.rate, s.error, r.requested_by::text as requested_by, r.requested_at, s.started_at, s.ended_at
    from walhook.repair r
    left join walhook.replay_state s on s.replay_id = r.id
    left join walhook.webhook w on w.id = r.webhook_id
   where r.kind = 'replay_log';
comment on view walhook.replay_progress is 'Replays from the log and how far they are. What has reached the queue is sent from there.';
comment on column walhook.replay_progress.replay_id is 'Number of the replay.';
comment on column walhook.replay_progress.webhook is 'Its webhook; empty where that is gone.';
comment on column walhook.replay_progress.state is 'new: not begun; running; done: all are in the queue or beyond; stopped; failed: see error.';
comment on column walhook.replay_progress.deliveries is 'How many there are to send again; NULL: not counted yet.';
comment on column walhook.replay_progress.queued is 'How many went into the queue so far, from where they are sent.';
comment on column walhook.replay_progress.skipped is 'How many could not be sent again when their turn came.';
comment on column walhook.replay_progress.percent is 'How much is done.';
comment on column walhook.replay_progress.rate is 'Deliveries a second at most.';
comment on column walhook.replay_progress.error is 'Why it failed.';
comment on column walhook.replay_progress.requested_by is 'Who asked for it.';
comment on column walhook.replay_progress.requested_at is 'When.';
comment on column walhook.replay_progress.started_at is 'When its deliveries were chosen.';
comment on column walhook.replay_progress.ended_at is 'When it ended.';

-- Cancelling what waits ------------------------------------------------------------------------------------------------------

create or replace function walhook.cancel(
    webhook text, docname text default null, delivery_id text default null, since timestamptz default null, until timestamptz default null,
    from_lsn pg_lsn default null, to_lsn pg_lsn default null, dry_run boolean default false) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := walhook.webhook_number(webhook);
  concerned bigint;
begin
  select count(*) into concerned from walhook.webhook_queue q
   where q.webhook_id = number
     and (cancel.docname is null or q.docname = cancel.docname)
     and (cancel.delivery_id is null or q.delivery_id = cancel.delivery_id)
     and (cancel.since is null or q.commit_time >= cancel.since) and (cancel.until is null or q.commit_time < cancel.until)
     and (cancel.from_lsn is null or q.commit_lsn >= cancel.from_lsn) and (cancel.to_lsn is null or q.commit_lsn <= cancel.to_lsn);
  if not dry_run then
    -- Also where the queue is empty: something may be on its way there.
    insert into walhook.repair (kind, webhook_id, docname, delivery_id, since, until, from_lsn, to_lsn)
      values ('cancel_waiting', number, cancel.docname, cancel.delivery_id, cancel.since, cancel.until, cancel.from_lsn,
        least(cancel.to_lsn, pg_current_wal_insert_lsn()));
  end if;
  return concerned;
end $$;
comment on function walhook.cancel(text, text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, boolean) is
  'Takes what waits for a webhook out of the queue, dead letters too, with a log row each (outcome = cancelled): all, or of one document, one delivery, of changes committed in a range of time or LSN. A request under way ends; if it fails it is the last. What is committed after this is not meant. Returns how many stand in the queue now; dry_run => true only counts.';

-- Publishing and rights ------------------------------------------------------------------------------------------------------

do $$
begin
  if not exists (
    select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
     where p.pubname = 'walhook_all' and r.prrelid = 'walhook.paused'::regclass) then
    alter publication walhook_all add table walhook.paused;
    insert into walhook.published (publication, relation, member)
      select n.publication, n.relation, n.member from walhook.published_now() n where n.relation = 'walhook.paused'::regclass
      on conflict do nothing;
  end if;
end $$;

revoke all on function walhook.set_pauser(), walhook.webhook_number(text), walhook.pause(text, text), walhook.resume(text),
  walhook.replayable(integer, text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, text),
  walhook.replay(text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, text, text, real, boolean), walhook.stop_replay(bigint),
  walhook.cancel(text, text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, boolean) from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.paused, walhook.replay_progress to walhook_bridge',
    'grant select, insert, update, delete on walhook.replay_state, walhook.replay_item to walhook_bridge',
    'grant execute on function walhook.replayable(integer, text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, text) to walhook_bridge',
    'grant select, insert, delete on walhook.paused to walhook_admin',
    'grant select on walhook.replay_progress to walhook_admin',
    'grant execute on function walhook.set_pauser(), walhook.webhook_number(text), walhook.pause(text, text), walhook.resume(text), '
      'walhook.replayable(integer, text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, text), '
      'walhook.replay(text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, text, text, real, boolean), walhook.stop_replay(bigint), '
      'walhook.cancel(text, text, text, timestamptz, timestamptz, pg_lsn, pg_lsn, boolean) to walhook_admin',
    'grant select on walhook.paused, walhook.replay_progress to walhook_analyst',
    'grant select on walhook.paused, walhook.replay_progress to walhook_monitor'
  ]);
end $$;

insert into walhook.migration (version, name) values (160, 'replay') on conflict do nothing;

commit;
