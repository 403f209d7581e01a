-- Walhook 150: setting up. What could be watched and what is in the way; a webhook in one call; mistakes in words.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- What could be watched -----------------------------------------------------------------------------------------------

create or replace function walhook.doctype_problems(relation oid, reader oid,
    out events text[], out is_refused boolean, out problem text, out remedy text) returns setof record
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  with doctype as materialized (
    select c.oid, c.relkind, c.relpersistence, c.relnamespace,
           exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'docstatus' and not a.attisdropped
                     and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) as is_submittable,
           exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary) as has_key,
           exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indimmediate) as has_immediate_key,
           exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where p.pubname = 'walhook_insert' and r.prrelid = c.oid) as in_insert,
           exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where p.pubname = 'walhook_all' and r.prrelid = c.oid) as in_all,
           (select n.nspowner from pg_namespace n where n.nspname = 'walhook') as keeper
      from pg_class c where c.oid = doctype_problems.relation
  ), author as materialized (
    select a.problem, a.remedy from walhook.author_problem(doctype_problems.reader, doctype_problems.relation) a
  ), broken as materialized (
    -- Only where something is published, or was: the question is not cheap, and this is asked of every table.
    select p.problem from walhook.publication_problems() p
     where (p.relation = doctype_problems.relation or p.relation is null)
       and exists (select from walhook.published m where m.relation = doctype_problems.relation)
  ), event as materialized (
    -- As walhook.needs has it, of a webhook for this event alone.
    select e.n, e.name, e.name <> all ('{after_insert,on_truncate}')
             or (e.name = 'after_insert' and d.relkind = 'p' and d.has_immediate_key) as wants_all,
           e.name = any ('{on_trash,on_change,on_submit,on_cancel,on_update_after_submit}')
             or (e.name = 'on_update' and d.is_submittable) as wants_old,
           e.name = any ('{on_submit,on_cancel,on_update_after_submit}') as wants_docstatus
      from doctype d, unnest('{after_insert,on_update,on_change,on_trash,on_submit,on_cancel,on_update_after_submit,on_truncate}'::text[])
             with ordinality as e (name, n)
  ), member as materialized (
    select c.oid, c.relowner, c.relreplident, o.suffices, f.problem, f.remedy, not pg_has_role(d.keeper, c.relowner, 'USAGE') as is_foreign,
           case when c.reltoastrelid = 0 then 0 else pg_relation_size(c.reltoastrelid) end as toast_bytes
      from doctype d
     cross join lateral unnest(walhook.members(d.oid)) m (oid)
      join pg_class c on c.oid = m.oid
     cross join lateral walhook.own_identity(c.oid) o
      -- Nor is this one.
      left join lateral (
        select p.problem, p.remedy from walhook.full_identity_problem(c.oid) p
         where exists (select from pg_publication o where o.pubname not in ('walhook_all', 'walhook_insert'))
            or exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and a.attgenerated = 'v' and not a.attisdropped)) f on true
  ), full_need as materialized (
    -- Those that would be given REPLICA IDENTITY FULL for this event.
    select e.n, m.oid, m.toast_bytes, m.problem, m.remedy
      from event e, member m
     where e.wants_all and m.relreplident <> 'f' and (e.wants_old or not m.suffices)
  ), found as (
    select 1 as place, e.n, e.name, true as is_refused, format('%s is an unlogged table: its rows are not in the write-ahead log', d.oid::regclass) as problem,
           format('alter table %s set logged;', d.oid::regclass) as remedy
      from doctype d, event e where d.relpersistence = 'u'
    union all
    select 2, e.n, e.name, true, a.problem, a.remedy
      from event e, author a where a.problem is not null
    union all
    select 20, e.n, e.name, true, 'it has no column docstatus of an integer type (0 draft, 1 submitted, 2 cancelled)',
           'Use on_update or on_change, with a condition on the column that tells it.'
      from doctype d, event e where e.wants_docstatus and not d.is_submittable
    union all
    select 4, e.n, e.name, true, format('it belongs to %s, for whom %s may not act', o.owner, pg_get_userbyid(d.keeper)),
           format('grant %I to %I;', o.owner, pg_get_userbyid(d.keeper))
      from doctype d, event e,
           lateral (select distinct pg_get_userbyid(m.relowner) as owner from member m where m.is_foreign) o
     where (e.wants_all and not d.in_all) or (not e.wants_all and not d.in_all and not d.in_insert)
        or exists (select from full_need f where f.n = e.n)
    union all
    select 5, e.n, e.name, true, 'it is partitioned and has no primary key: a partition added later would have no replica identity, and its own UPDATEs would fail',
           'Add a primary key to it, or install Walhook as a superuser, with the event trigger that prevents it.'
      from doctype d, event e
     where e.wants_all and not d.in_all and d.relkind = 'p' and not d.has_immediate_key and not walhook.has_guard()
    union all
    select 6, f.n, e.name, true, format('it takes REPLICA IDENTITY FULL on %s, but %s', f.oid::regclass, f.problem), f.remedy
      from full_need f join event e on e.n = f.n where f.problem is not null
    union all
    select 6, e.n, e.name, true, format('%s has REPLICA IDENTITY FULL, but %s', m.oid::regclass, m.problem),
           format('Give it a primary key and alter table %s replica identity default; or make the column STORED.', m.oid::regclass)
      from doctype d, event e, member m
     where e.wants_all and not d.in_all and m.relreplident = 'f' and m.problem is not null
    union all
    select 7, f.n, e.name, true, format('it takes REPLICA IDENTITY FULL, with which each UPDATE and DELETE puts the whole old row into the write-ahead log, and the table has %s of large values',
             pg_size_pretty(sum(f.toast_bytes))), 'Set allow_replica_identity_full on the webhook.'
      from full_need f join event e on e.n = f.n group by f.n, e.name having sum(f.toast_bytes) > 8 * 1024 * 1024
    union all
    select 8, e.n, e.name, false, p.problem || ': changes do not reach the bridge', 'walhook accept-gap'
      from event e, broken p
    union all
    select 9, e.n, e.name, false, format('wal_level is %s: nothing can be delivered', current_setting('wal_level')),
           'alter system set wal_level = logical; then restart the server.'
      from event e where current_setting('wal_level') <> 'logical'
    union all
    select 10, e.n, e.name, false, 'REPLICA IDENTITY FULL will be set: each UPDATE and DELETE puts the whole old row into the write-ahead log', null
      from event e where exists (select from full_need f where f.n = e.n)
    union all
    select 11, e.n, e.name, false, 'it has no primary key: its documents have no name, and the order of their deliveries is not kept',
           'Add a primary key.'
      from doctype d, event e where not d.has_key
  )
  select array_agg(f.name order by f.n), f.is_refused, f.problem, f.remedy
    from found f group by f.place, f.is_refused, f.problem, f.remedy order by f.is_refused desc, f.place, f.problem
$$;
comment on function walhook.doctype_problems(oid, oid) is
  'What is in the way of watching a table, for which events and with what remedy: is_refused where a webhook of that role for such an event would be refused, else what to know of it.';

create or replace view walhook.doctype with (security_barrier) as
  select c.oid::regclass as webhook_doctype,
         case when n.nspname = 'public' then c.relname::text else n.nspname || '.' || c.relname end as doctype,
         case c.relkind when 'p' then 'partitioned table' else 'table' end as kind,
         pg_catalog.pg_get_userbyid(c.relowner) as owner,
         (select array_agg(a.attname::text order by k.place)
            from pg_catalog.pg_index i
           cross join lateral unnest(i.indkey::pg_catalog.int2[]) with ordinality as k (attnum, place)
            join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
           where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts) as key,
         case c.relreplident when 'd' then 'default' when 'f' then 'full' when 'i' then 'index' else 'nothing' end as replica_identity,
         exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attname = 'docstatus' and not a.attisdropped
                   and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) as has_docstatus,
         size.rows_estimated, size.total_bytes,
         case when in_all.is_member then 'all changes' when in_insert.is_member then 'inserts' end as published,
         (select count(*) from walhook.webhook w where w.doctype_oid = c.oid) as webhooks,
         array(select e.name from unnest('{after_insert,on_update,on_change,on_trash,on_submit,on_cancel,on_update_after_submit,on_truncate}'::text[])
                 with ordinality as e (name, n)
                where not exists (select from jsonb_array_elements(found.problems) p where (p ->> 'is_refused')::boolean and p -> 'events' ? e.name)
                order by e.n) as events,
         found.problems
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   cross join lateral (
     select sum(greatest(t.reltuples, 0))::bigint as rows_estimated, sum(pg_catalog.pg_total_relation_size(t.oid))::bigint as total_bytes
       from pg_catalog.pg_class t
      where t.oid = c.oid or (c.relkind = 'p' and t.relkind = 'r' and t.oid in (select p.relid from pg_catalog.pg_partition_tree(c.oid) p))) size
   cross join lateral (
     select exists (select from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid
                     where p.pubname = 'walhook_all' and r.prrelid = c.oid) as is_member) in_all
   cross join lateral (
     select exists (select from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid
                     where p.pubname = 'walhook_insert' and r.prrelid = c.oid) as is_member) in_insert
   cross join lateral (
     select coalesce(jsonb_agg(jsonb_build_object('events', to_jsonb(d.events), 'is_refused', d.is_refused, 'problem', d.problem, 'remedy', d.remedy)
                               order by d.n), '[]') as problems
       from walhook.doctype_problems(c.oid, quote_ident(current_user)::regrole)
              with ordinality as d (events, is_refused, problem, remedy, n)) found
   where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence in ('p', 'u')
     and (n.nspname not in ('pg_catalog', 'information_schema', 'walhook', 'walhook_condition') and n.nspname !~ '^pg_(toast|temp)'
          or c.oid = 'walhook.alert'::regclass);
comment on view walhook.doctype is
  'Every table that could be watched, one row each: what it is, for which events a webhook of yours would be taken now, and what is in the way of the others.';
comment on column walhook.doctype.webhook_doctype is 'The table; of a partitioned table its root.';
comment on column walhook.doctype.doctype is 'Its name as it stands in log and payload; with its schema unless public.';
comment on column walhook.doctype.kind is 'table or partitioned table.';
comment on column walhook.doctype.owner is 'Its owner; walhook_owner must be a member of that role.';
comment on column walhook.doctype.key is 'The columns of its primary key, which make a document''s name; NULL where there is none.';
comment on column walhook.doctype.replica_identity is 'How much of a row before the WAL carries now: default (the key), index, full (all of it), nothing. Set by Walhook where a webhook needs it.';
comment on column walhook.doctype.has_docstatus is 'Whether it has an integer column docstatus, and so the events on_submit, on_cancel, on_update_after_submit.';
comment on column walhook.doctype.rows_estimated is 'How many rows it has, as the planner thinks; partitions included.';
comment on column walhook.doctype.total_bytes is 'Its size on disk with indexes and large values; partitions included.';
comment on column walhook.doctype.published is 'What of it is in the stream now: all changes, inserts (and truncates), or NULL, nothing.';
comment on column walhook.doctype.webhooks is 'How many webhooks there are on it, enabled or not.';
comment on column walhook.doctype.events is 'The doc events for which a webhook of yours would be taken as things are.';
comment on column walhook.doctype.problems is
  'What is in the way, or good to know: [{"events", "is_refused", "problem", "remedy"}]; is_refused: a webhook of yours for one of these events would be refused.';

revoke all on function walhook.doctype_problems(oid, oid) from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.doctype to walhook_bridge',
    'grant select on walhook.doctype to walhook_admin',
    'grant select on walhook.doctype to walhook_analyst',
    'grant select on walhook.doctype to walhook_monitor',
    'grant execute on function walhook.doctype_problems(oid, oid) to walhook_bridge',
    'grant execute on function walhook.doctype_problems(oid, oid) to walhook_admin',
    'grant execute on function walhook.doctype_problems(oid, oid) to walhook_analyst',
    'grant execute on function walhook.doctype_problems(oid, oid) to walhook_monitor'
  ]);
end $$;

insert into walhook.migration (version, name) values (150, 'setup') on conflict do nothing;

commit;
