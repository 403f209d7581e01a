-- Walhook 070: an event trigger that keeps the application's own statements from failing after its DDL.
--
-- A published table without replica identity refuses UPDATE and DELETE. A new partition starts without the identity of
-- its root, and a migration that drops a primary key leaves none. Only a superuser may make event triggers; without it
-- Walhook works, but refuses what it could not guard: UPDATE and DELETE events of a partitioned table without primary key.
--
-- The function belongs to the installing superuser and touches nothing that walhook_owner could replace: whatever runs
-- here runs as superuser. It reads the catalogs and says ALTER TABLE … REPLICA IDENTITY, and never raises an error.
begin;

do $do$
begin
  if not (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user) then
    raise notice 'the event trigger walhook_guard is left out: only a superuser may make it'
      using hint = 'A superuser can run sql/070_guard.sql later.';
    return;
  end if;

  create or replace function walhook.guard() returns event_trigger
    language plpgsql security definer
    set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' set client_min_messages = 'warning'
  as $$
  declare
    member record;
  begin
    for member in
      select c.oid::regclass as relation, root.oid::regclass as root, has.virtual_column,
             exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indimmediate and i.indisvalid) as has_key
        from pg_publication p
        join pg_publication_rel r on r.prpubid = p.oid
        join pg_class root on root.oid = r.prrelid
       cross join lateral (select root.oid union select t.relid::oid from pg_partition_tree(root.oid) t) m (oid)
        join pg_class c on c.oid = m.oid and c.relkind in ('r', 'p')
       cross join lateral (select exists (
               select from pg_attribute a where a.attrelid = c.oid and a.attgenerated = 'v' and not a.attisdropped) as virtual_column) has
       where p.pubname = 'walhook_all' and root.relnamespace <> to_regnamespace('walhook')
         and case c.relreplident
             when 'f' then has.virtual_column
             else (root.relreplident = 'f' and not has.virtual_column) or not exists (
               select from pg_index i where i.indrelid = c.oid and i.indimmediate and i.indisvalid
                  and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end) end
    loop
      begin
        if not member.virtual_column then
          execute format('alter table only %s replica identity full', member.relation);
        elsif member.has_key then
          execute format('alter table only %s replica identity default', member.relation);
          raise warning 'Walhook: % has a virtual generated column now and cannot keep REPLICA IDENTITY FULL: webhooks do not see the old values of its rows any more', member.relation;
        else
          execute format('alter publication walhook_all drop table only %s', member.root);
          raise warning 'Walhook: % has neither a primary key nor can it have REPLICA IDENTITY FULL: it is not watched any more', member.root;
        end if;
      exception when others then
        raise warning 'Walhook: the replica identity of % could not be set: %', member.relation, sqlerrm;
      end;
    end loop;
    -- PostgreSQL 14 remembers for its connection whether a table is published, also after it was attached or
    -- detached: rows of such a partition would be missed, or sent on. A change of the publication makes it look again.
    if current_setting('server_version_num')::integer < 150000 then
      for member in
        select distinct p.pubname
          from pg_event_trigger_ddl_commands() d
          join pg_class c on c.oid = d.objid and c.relkind = 'p'
         cross join lateral (select c.oid union select a.relid::oid from pg_partition_ancestors(c.oid) a) m (oid)
          join pg_publication_rel r on r.prrelid = m.oid
          join pg_publication p on p.oid = r.prpubid
         where d.classid = 'pg_class'::regclass and p.pubname in ('walhook_all', 'walhook_insert')
      loop
        execute format('alter publication %I set (publish_via_partition_root = true)', member.pubname);
      end loop;
    end if;
  exception when others then
    raise warning 'Walhook: guard failed: %', sqlerrm;
  end $$;
  comment on function walhook.guard() is
    'Event trigger: gives a watched table, and each partition, a replica identity after DDL that left it without one.';
  revoke all on function walhook.guard() from public;

  if not exists (select from pg_catalog.pg_event_trigger where evtname = 'walhook_guard') then
    create event trigger walhook_guard on ddl_command_end
      when tag in ('CREATE TABLE', 'ALTER TABLE', 'ALTER INDEX', 'DROP INDEX')
      execute function walhook.guard();
    comment on event trigger walhook_guard is 'Walhook: keeps watched tables and their new partitions able to be updated.';
  end if;
end $do$;

insert into walhook.migration (version, name) values (70, 'guard') on conflict do nothing;

commit;
