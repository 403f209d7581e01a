-- Walhook 194: what is asked for about deliveries names its documents as walhook.why does, and does nothing by a NULL.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.require_table(webhook text) returns oid
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  w record;
  namesake text;
begin
  select h.doctype_oid, h.doctype into w from walhook.webhook h where h.id = walhook.webhook_number(require_table.webhook);
  if exists (select from pg_class c where c.oid = w.doctype_oid) then return w.doctype_oid; end if;
  select c.oid::regclass::text into namesake from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where case when n.nspname = 'public' then c.relname::text else n.nspname || '.' || c.relname end = w.doctype and c.relkind in ('r', 'p');
  raise exception 'webhook "%": its table % does not exist any more', webhook, w.doctype using errcode = 'object_not_in_prerequisite_state',
    hint = case when namesake is null then format('Set webhook_doctype to another table, or delete the webhook: delete from walhook.webhook where name = %L;', webhook)
                else format('A table of that name exists again: update walhook.webhook set webhook_doctype = %L where name = %L;', namesake, webhook) end;
end $$;
comment on function walhook.require_table(text) is 'The table of a webhook by its name; an error with a remedy where it was dropped.';

create or replace function walhook.docname_of_webhook(number integer, docname text) returns text
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  watched constant oid := (select w.doctype_oid from walhook.webhook w where w.id = number);
  named text;
begin
  -- As it stands in the queue it means that, also where the table has another key since, none, or is gone.
  if docname is null or exists (select from walhook.webhook_queue q where q.webhook_id = number and q.docname = docname_of_webhook.docname) then
    return docname;
  elsif exists (select from pg_class c where c.oid = watched) then
    named := (select n.name from walhook.docname_as_logged(watched, docname) n);
  end if;
  return coalesce(named, case when walhook.is_short_name(docname) then docname else walhook.short_name(docname) end);
end $$;
comment on function walhook.docname_of_webhook(integer, text) is
  'The name of a document as the queue and the log have it, see walhook.docname_as_logged; as it is, shortened where it is long, where its table has no key, or is gone. Raises where it cannot be a name.';

create or replace function walhook.ask_for_repair(kind text, webhook text, docname text, delivery_id text) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number integer;
  named text;
  concerned bigint;
begin
  select w.id into number from walhook.webhook w where w.name = ask_for_repair.webhook;
  if number is null then
    raise exception 'there is no webhook "%"', ask_for_repair.webhook using errcode = 'no_data_found',
      hint = 'Names stand in walhook.webhook; dead letters in walhook.dead_letter.';
  end if;
  named := walhook.docname_of_webhook(number, docname);
  select count(*) into concerned from walhook.webhook_queue q
   where q.webhook_id = number and q.is_dead and (named is null or q.docname = named)
     and (ask_for_repair.delivery_id is null or q.delivery_id = ask_for_repair.delivery_id);
  if concerned > 0 then
    insert into walhook.repair (kind, webhook_id, docname, delivery_id) values (ask_for_repair.kind, number, named, ask_for_repair.delivery_id);
  end if;
  return concerned;
end $$;

-- Replaying ----------------------------------------------------------------------------------------------------------------

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
                when q.holds_lane then 'as a dead letter it holds its document: walhook.replay_dead_letters sends it again'
                when not q.is_dead then 'it is open: it waits in the queue already'
                when b.delivery_id is null then 'the log has not kept what was sent'
                when has_rendered_headers then 'the log does not keep rendered headers'
                when w.is_dynamic_url and w.has_credentials then 'the log does not keep credentials in a URL' end
      from latest e
      left join body b on b.delivery_id = e.delivery_id
      left join walhook.webhook_queue q on q.delivery_id = e.delivery_id
     where replayable.outcome is null or e.outcome = replayable.outcome;
end $$;

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
  named text;
  mine record;
begin
  if delivery_id is null and since is null and until is null and from_lsn is null and to_lsn is null and outcome is null and docname is null then
    raise exception 'nothing says which deliveries of "%" are meant', webhook using errcode = 'invalid_parameter_value',
      hint = 'Name a delivery_id, a docname, an outcome, or a range by since and until or by from_lsn and to_lsn. For everything: since => ''-infinity''.';
  end if;
  perform walhook.check_stretch(since, until);
  if outcome is not null and outcome <> all (known) then
    raise exception 'there is no outcome "%"', outcome using errcode = 'invalid_parameter_value', hint = 'There are ' || array_to_string(known, ', ') || '.';
  end if;
  if rate is null or rate <= 0 or rate > 100000 then
    raise exception 'rate is %', coalesce(rate::text, 'NULL') using errcode = 'invalid_parameter_value', hint = 'Deliveries a second, for example 50.';
  end if;
  -- What is sent is the webhook's rows: for those alone who could say so in a webhook of their own.
  select p.problem, p.remedy into mine from walhook.author_problem(quote_ident(current_user)::regrole, walhook.require_table(webhook)) p;
  if mine.problem is not null then
    raise exception 'webhook "%": %', webhook, mine.problem using errcode = 'insufficient_privilege',
      detail = 'Who has a webhook''s deliveries sent again must be able to be its author.', hint = coalesce(mine.remedy, 'walhook.doctype says what is in the way of each table.');
  end if;
  named := walhook.docname_of_webhook(number, docname);
  select coalesce(sum(c.n), 0), coalesce(sum(c.n) filter (where c.problem is null), 0), coalesce(sum(c.n) filter (where c.problem is not null), 0),
         coalesce(jsonb_object_agg(c.problem, c.n) filter (where c.problem is not null), '{}')
    into deliveries, replayable, not_replayable, reasons
    from (select r.problem, count(*) as n
            from walhook.replayable(number, named, delivery_id, since, bound, from_lsn, to_lsn, outcome) r group by r.problem) c;
  if coalesce(dry_run, true) then
    raise notice 'nothing is sent again by this: % of % deliveries could be', replayable, deliveries using hint = 'dry_run => false does it.';
  elsif replayable > 0 then
    insert into walhook.repair (kind, webhook_id, docname, delivery_id, since, until, from_lsn, to_lsn, outcome, rate)
      values ('replay_log', number, named, delivery_id, since, bound, from_lsn, to_lsn, outcome, rate) returning id into replay_id;
  end if;
end $$;

-- Cancelling ---------------------------------------------------------------------------------------------------------------

create or replace function walhook.cancel(
    webhook text, docname text default null, delivery_id text default null, since timestamptz default null, until timestamptz default null,
    from_lsn pg_lsn default null, to_lsn pg_lsn default null, dry_run boolean default false) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := walhook.webhook_number(webhook);
  named constant text := walhook.docname_of_webhook(number, docname);
  concerned bigint;
begin
  select count(*) into concerned from walhook.webhook_queue q
   where q.webhook_id = number and (named is null or q.docname = named)
     and (cancel.delivery_id is null or q.delivery_id = cancel.delivery_id)
     and (cancel.since is null or q.commit_time >= cancel.since) and (cancel.until is null or q.commit_time < cancel.until)
     and (cancel.from_lsn is null or q.commit_lsn >= cancel.from_lsn) and (cancel.to_lsn is null or q.commit_lsn <= cancel.to_lsn);
  -- NULL only counts, as true does.
  if dry_run = false then
    -- Also where the queue is empty: something may be on its way there.
    insert into walhook.repair (kind, webhook_id, docname, delivery_id, since, until, from_lsn, to_lsn)
      values ('cancel_waiting', number, named, cancel.delivery_id, cancel.since, cancel.until, cancel.from_lsn,
        least(cancel.to_lsn, pg_current_wal_insert_lsn()));
  end if;
  return concerned;
end $$;

-- Replays of webhooks that are gone end with them; before, they ran for ever.
with stopped as (
  update walhook.replay_state s set state = 'stopped', ended_at = now()
   where s.state in ('new', 'running') and not exists (select from walhook.webhook w where w.id = s.webhook_id)
  returning s.replay_id
)
delete from walhook.replay_item i using stopped where i.replay_id = stopped.replay_id;
comment on column walhook.replay_state.state is
  'new: not begun; running; done: all are in the queue or beyond; stopped: by walhook.stop_replay, or since its webhook was deleted; failed: see error.';

do $$
declare
  relation text;
begin
  foreach relation in array array['webhook_request_log', 'log_figures', 'slowest'] loop
    execute format('comment on column walhook.%I.outcome is %L', relation,
      'delivered, retry (another attempt follows), dead (given up), blocked (address not allowed), cancelled (its webhook was deleted, or somebody cancelled or expunged it: see error), '
      'undecidable (the WAL does not carry a value it needs), error.');
  end loop;
end $$;

-- Rights -------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.require_table(text), walhook.docname_of_webhook(integer, text) from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant execute on function walhook.require_table(text), walhook.docname_of_webhook(integer, text) to walhook_admin']);
end $$;

insert into walhook.migration (version, name) values (194, 'repairs') on conflict do nothing;

commit;
