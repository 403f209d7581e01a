-- Walhook 085: gaps. Where changes may be missing from the stream, the bridge stops, says so in walhook.bridge, and goes
-- on when somebody has accepted the gap, which is kept on record.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- What the bridge shows -------------------------------------------------------------------------------------------

alter table walhook.bridge
  add column if not exists stopped_lsn pg_lsn,
  add column if not exists remedy text,
  add column if not exists gap_kind text,
  add column if not exists gap_from_lsn pg_lsn,
  add column if not exists gap_to_lsn pg_lsn,
  add column if not exists gap_needs_slot boolean,
  add column if not exists gap_detected_at timestamptz;
alter table walhook.bridge drop constraint if exists bridge_state_is_known;
alter table walhook.bridge add constraint bridge_state_is_known
  check (state in ('new', 'running', 'stopped', 'waiting', 'failed', 'gap'));
alter table walhook.bridge drop constraint if exists bridge_gap_is_whole;
alter table walhook.bridge add constraint bridge_gap_is_whole
  check ((gap_kind is null) = (gap_detected_at is null) and (gap_kind is null) = (gap_needs_slot is null));

comment on column walhook.bridge.state is
  'new, running, stopped, waiting (for the database or the slot), failed (see last_error), gap (changes may be missing: see the gap_ columns and remedy).';
comment on column walhook.bridge.stopped_lsn is
  'Where the slot stood when the bridge was last stopped in order, to the byte; NULL while it runs and after a crash. Farther means that somebody else moved the slot.';
comment on column walhook.bridge.remedy is 'What to do about last_error.';
comment on column walhook.bridge.gap_kind is 'What kind of gap is open, see walhook.gap.kind; NULL: none. Closed by `walhook accept-gap`.';
comment on column walhook.bridge.gap_from_lsn is 'Changes committed before this place were seen.';
comment on column walhook.bridge.gap_to_lsn is 'Changes committed up to this place may be missing; NULL where that is not known.';
comment on column walhook.bridge.gap_needs_slot is 'Whether going on takes a new slot; else the bridge goes on where it stopped.';
comment on column walhook.bridge.gap_detected_at is 'When the gap was found.';

-- What was accepted -----------------------------------------------------------------------------------------------

create table if not exists walhook.gap (
  id integer generated always as identity constraint gap_pkey primary key,
  kind text not null constraint gap_kind_is_known check (kind in (
    'slot_missing', 'slot_lost', 'slot_moved', 'slot_recreated', 'other_system', 'other_database',
    'publication_missing', 'publication_changed', 'table_unpublished')),
  slot_name text,
  from_lsn pg_lsn,
  to_lsn pg_lsn,
  detected_at timestamptz not null,
  error text not null,
  new_slot_name text,
  accepted_at timestamptz not null default now(),
  accepted_by name not null default session_user,
  reason text
);
comment on table walhook.gap is
  'Gaps that somebody has accepted: changes between from_lsn and to_lsn may never have been delivered. Written by `walhook accept-gap`.';
comment on column walhook.gap.id is 'Number of the gap.';
comment on column walhook.gap.kind is
  'slot_missing (dropped, or not in the backup that was restored), slot_lost (invalidated by the server), slot_moved (advanced, or made anew under its name), slot_recreated (a slot of another kind has its name), other_system and other_database (a copy), publication_missing, publication_changed (it no longer publishes all that it must), table_unpublished (a watched table was taken out of its publication).';
comment on column walhook.gap.slot_name is 'The slot that was on record.';
comment on column walhook.gap.from_lsn is 'Changes committed before this place were seen.';
comment on column walhook.gap.to_lsn is 'Changes committed behind this place are seen again.';
comment on column walhook.gap.detected_at is 'When it was found.';
comment on column walhook.gap.error is 'What was found, in words.';
comment on column walhook.gap.new_slot_name is 'The slot that was made to go on; NULL: the former one goes on.';
comment on column walhook.gap.accepted_at is 'When it was accepted.';
comment on column walhook.gap.accepted_by is 'The login role that accepted it.';
comment on column walhook.gap.reason is 'Why, in the words of whoever accepted it.';

-- What the publications must hold ---------------------------------------------------------------------------------

create table if not exists walhook.published (
  publication name not null constraint published_publication_is_ours check (publication in ('walhook_insert', 'walhook_all')),
  relation oid not null,
  member oid not null,
  is_broken boolean not null default false,
  constraint published_pkey primary key (relation, publication)
);
comment on table walhook.published is
  'Through which publication each watched table is published, written in the transaction that publishes it: what the publications must hold. Kept by triggers on walhook.webhook.';
comment on column walhook.published.publication is 'walhook_insert or walhook_all.';
comment on column walhook.published.relation is 'The table; also Walhook''s own configuration tables.';
comment on column walhook.published.member is 'OID of its row in pg_publication_rel: a table that was taken out and put back has another one.';
comment on column walhook.published.is_broken is 'Whether it was found missing when a webhook was changed: accepting the gap makes it good.';

create or replace function walhook.published_now() returns table (publication name, relation oid, member oid)
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  -- A table that is in both is published through walhook_all.
  select distinct on (r.prrelid) p.pubname, r.prrelid, r.oid
    from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid and p.pubname in ('walhook_insert', 'walhook_all')
    join pg_class c on c.oid = r.prrelid
   where c.relnamespace = 'walhook'::regnamespace or exists (select from walhook.webhook w where w.doctype_oid = c.oid)
   order by r.prrelid, p.pubname
$$;
comment on function walhook.published_now() is 'The watched tables, and Walhook''s own, that are in a publication, each in the one that counts.';

create or replace function walhook.publication_problems()
  returns table (kind text, publication name, relation oid, is_configuration boolean, problem text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select 'publication_missing', n.name::name, null::oid, n.name = 'walhook_all', format('publication %I does not exist', n.name)
    from (values ('walhook_all'), ('walhook_insert')) n (name)
   where not exists (select from pg_publication p where p.pubname = n.name)
  union all
  select 'publication_changed', p.pubname, null, p.pubname = 'walhook_all',
         format('publication %I no longer publishes all that it must (%s)', p.pubname, concat_ws(', ',
           case when not p.pubinsert then 'no INSERT' end, case when not p.pubtruncate then 'no TRUNCATE' end,
           case when p.pubname = 'walhook_all' and not p.pubupdate then 'no UPDATE' end,
           case when p.pubname = 'walhook_all' and not p.pubdelete then 'no DELETE' end,
           case when not p.pubviaroot then 'partitions not as their root' end))
    from pg_publication p
   where p.pubname in ('walhook_insert', 'walhook_all')
     and not (p.pubinsert and p.pubtruncate and p.pubviaroot and (p.pubname = 'walhook_insert' or (p.pubupdate and p.pubdelete)))
  union all
  -- Some catalog columns are younger than 14: read as JSON, they are NULL where they do not exist.
  select 'table_unpublished', m.publication, m.relation, c.relnamespace = 'walhook'::regnamespace,
         format(case when r.oid is null or m.is_broken then 'table %s was taken out of publication %I'
                     else 'table %s has a row filter or a column list in publication %I' end, m.relation::regclass, m.publication)
    from walhook.published m
    join pg_class c on c.oid = m.relation
    join pg_publication p on p.pubname = m.publication
    left join pg_publication_rel r on r.oid = m.member and r.prpubid = p.oid and r.prrelid = m.relation
   where m.is_broken or r.oid is null
      or to_jsonb(r) ->> 'prqual' is not null or to_jsonb(r) ->> 'prattrs' is not null
$$;
comment on function walhook.publication_problems() is
  'What keeps changes of watched tables out of the stream: the server itself says little of it (a table taken out of a publication is silent, from PostgreSQL 18 on also a dropped publication). The bridge asks at its start and once a second. is_configuration: changes of webhooks may be missing as well.';

create or replace function walhook.notice_unpublished() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  update walhook.published m set is_broken = true
   where not m.is_broken and m.relation in (case when tg_op <> 'DELETE' then new.doctype_oid end, case when tg_op <> 'INSERT' then old.doctype_oid end)
     and not exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
                      where r.oid = m.member and r.prrelid = m.relation and p.pubname = m.publication);
  return null;
end $$;
comment on function walhook.notice_unpublished() is
  'Trigger, before a table is published anew: that it was taken out of its publication meanwhile must not be covered up.';

create or replace function walhook.record_published() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  watched oid;
  through record;
begin
  foreach watched in array array_remove(array[
    case when tg_op <> 'DELETE' then new.doctype_oid end, case when tg_op <> 'INSERT' then old.doctype_oid end], null)
  loop
    -- As walhook.published_now, of one table.
    select p.pubname, r.oid as member into through
      from pg_publication_rel r
      join pg_publication p on p.oid = r.prpubid and p.pubname in ('walhook_insert', 'walhook_all')
     where r.prrelid = watched and exists (select from walhook.webhook w where w.doctype_oid = r.prrelid)
     order by p.pubname limit 1;
    delete from walhook.published m
     where m.relation = watched and not m.is_broken and m.publication is distinct from through.pubname;
    if through.pubname is not null then
      insert into walhook.published (publication, relation, member)
        values (through.pubname, watched, through.member) on conflict do nothing;
    elsif not exists (select from pg_class c where c.oid = watched) then
      delete from walhook.published m where m.relation = watched;
    end if;
  end loop;
  return null;
end $$;
comment on function walhook.record_published() is 'Trigger, after a table was published: records through which publication.';

create or replace trigger webhook_49_notice_unpublished after insert or update or delete on walhook.webhook
  for each row execute function walhook.notice_unpublished();
create or replace trigger webhook_51_record_published after insert or update or delete on walhook.webhook
  for each row execute function walhook.record_published();

-- The first record; a table that is watched and not published shows as a problem.
insert into walhook.published (publication, relation, member)
  select n.publication, n.relation, n.member from walhook.published_now() n
  on conflict do nothing;
insert into walhook.published (publication, relation, member, is_broken)
  select distinct case when n.all_changes then 'walhook_all' else 'walhook_insert' end, w.doctype_oid, 0::oid, true
    from walhook.webhook w
    join pg_catalog.pg_class c on c.oid = w.doctype_oid
   cross join lateral walhook.needs(w.doctype_oid) n
   where not exists (select from walhook.published m where m.relation = w.doctype_oid)
  on conflict do nothing;

-- A table that has REPLICA IDENTITY FULL of its own ----------------------------------------------------------------

create or replace function walhook.require_publishable(relation oid) returns void
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  obstacle record;
begin
  if walhook.is_published(relation, 'walhook_all') or not (select n.all_changes from walhook.needs(relation) n) then return; end if;
  select c.oid::regclass as member, p.problem into obstacle
    from unnest(walhook.members(relation)) m join pg_class c on c.oid = m and c.relreplident = 'f'
   cross join lateral walhook.full_identity_problem(c.oid) p
   where p.problem is not null limit 1;
  if obstacle.problem is not null then
    raise exception '% has REPLICA IDENTITY FULL, but %', obstacle.member, obstacle.problem
      using errcode = 'object_not_in_prerequisite_state',
        detail = 'Published, it would make the application''s own UPDATEs and DELETEs fail.',
        hint = format('Give it a primary key and alter table %s replica identity default; or make the column STORED.', obstacle.member);
  end if;
end $$;
comment on function walhook.require_publishable(oid) is
  'Fails where a table, or a partition of it, could not be published for UPDATE and DELETE as it is, though its replica identity is FULL already.';

create or replace function walhook.check_publishable() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' and (to_jsonb(new) - '{enabled,modified_at}'::text[]) = (to_jsonb(old) - '{enabled,modified_at}'::text[]) then
    return null;
  end if;
  perform walhook.require_publishable(new.doctype_oid);
  return null;
end $$;
comment on function walhook.check_publishable() is 'Trigger, before a table is published: refuses one whose own statements would fail.';

create or replace trigger webhook_48_check_publishable after insert or update on walhook.webhook
  for each row execute function walhook.check_publishable();

-- Accepting -------------------------------------------------------------------------------------------------------

create or replace function walhook.repair_publications() returns integer
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  keeper constant name := (select pg_get_userbyid(n.nspowner) from pg_namespace n where n.nspname = 'walhook');
  former name;
  wanted record;
  broken record;
  options text;
  repaired integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('walhook.publish'));
  for wanted in select w.name, w.actions from (values ('walhook_insert', 'insert, truncate'), ('walhook_all', 'insert, update, delete, truncate')) w (name, actions) loop
    options := format('publish = %L, publish_via_partition_root = true', wanted.actions)
      || case when current_setting('server_version_num')::integer >= 180000 then ', publish_generated_columns = stored' else '' end;
    former := (select pg_get_userbyid(p.pubowner) from pg_publication p where p.pubname = wanted.name);
    if former is null then
      execute format('create publication %I with (%s)', wanted.name, options);
      execute format('comment on publication %I is %L', wanted.name, 'Walhook: made anew after it was dropped. Kept by triggers on walhook.webhook.');
      repaired := repaired + 1;
    elsif exists (select from walhook.publication_problems() p where p.publication = wanted.name and p.kind = 'publication_changed') then
      execute format('alter publication %I set (%s)', wanted.name, options);
      repaired := repaired + 1;
    end if;
    if former is distinct from keeper and (former is not null or current_user <> keeper) then
      execute format('alter publication %I owner to %I', wanted.name, keeper);
    end if;
  end loop;
  for broken in select p.publication, p.relation, p.is_configuration from walhook.publication_problems() p where p.relation is not null loop
    -- Without its row filter or column list.
    if walhook.is_published(broken.relation, broken.publication) then
      execute format('alter publication %I drop table only %s', broken.publication, broken.relation::regclass);
    end if;
    if broken.is_configuration then
      execute format('alter publication %I add table only %s', broken.publication, broken.relation::regclass);
    else
      perform walhook.require_publishable(broken.relation);
      perform walhook.publish_doctype(broken.relation,
        coalesce((select bool_or(w.allow_replica_identity_full) from walhook.webhook w where w.doctype_oid = broken.relation), true));
    end if;
    repaired := repaired + 1;
  end loop;
  delete from walhook.published;
  insert into walhook.published (publication, relation, member)
    select n.publication, n.relation, n.member from walhook.published_now() n;
  return repaired;
end $$;
comment on function walhook.repair_publications() is
  'Makes both publications hold again what the webhooks need, whatever was dropped, taken out or changed, and records it. Called by `walhook accept-gap`: by itself it would only hide that changes were missed.';

create or replace function walhook.cancel_orphans() returns integer
  language sql security invoker set search_path = pg_catalog, pg_temp
as $$
  with gone as (
    delete from walhook.webhook_queue q
     where not exists (select from walhook.webhook w where w.id = q.webhook_id)
    returning q.delivery_id, q.attempts, q.webhook_id, q.webhook, q.doctype, q.docname, q.docevent, q.source, q.commit_lsn, q.xid, q.commit_time
  ), logged as (
    insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source,
                                             outcome, error, lsn, xid, commit_time)
    select clock_timestamp(), g.delivery_id, g.attempts, g.webhook_id, g.webhook, g.doctype, g.docname, g.docevent, g.source,
           'cancelled', 'the webhook was deleted before this delivery could be made', g.commit_lsn, g.xid, g.commit_time
      from gone g
    returning 1
  )
  select count(*)::integer from logged
$$;
comment on function walhook.cancel_orphans() is
  'Cancels, with a log row each, open deliveries of webhooks whose deletion was in a gap. Called by `walhook accept-gap`. Returns how many.';

-- Rights ----------------------------------------------------------------------------------------------------------

revoke all on function walhook.require_publishable(oid), walhook.check_publishable(), walhook.published_now(), walhook.publication_problems(), walhook.notice_unpublished(),
  walhook.record_published(), walhook.repair_publications(), walhook.cancel_orphans() from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select, insert on walhook.gap to walhook_bridge',
    'grant select on walhook.published to walhook_bridge',
    'grant execute on function walhook.publication_problems(), walhook.cancel_orphans() to walhook_bridge',
    'grant select on walhook.gap to walhook_admin',
    'grant select on walhook.gap to walhook_analyst',
    'grant select on walhook.gap to walhook_monitor'
  ]);
end $$;

insert into walhook.migration (version, name) values (85, 'gaps') on conflict do nothing;

commit;
