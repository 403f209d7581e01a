-- Walhook 055: which tables are in which publication, and with which replica identity: always what the webhooks need
-- and no more, changed in the transaction that changes the webhooks.
--
-- No statement of the application may ever fail for it. A table that publishes UPDATE or DELETE without a replica
-- identity refuses both, and so do several combinations of FULL with column lists and generated columns.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- What is needed --------------------------------------------------------------------------------------------------

create or replace function walhook.reads_old(template text) returns boolean
  language sql immutable set search_path = pg_catalog, pg_temp
as $$
  select coalesce(template ~ '\{\{[^}]*\mold\M' or template ~ '\{\{#\s*json\s*\}\}\s*old\M', false)
$$;
comment on function walhook.reads_old(text) is 'Whether a Mustache template names old.';

create or replace function walhook.needs(relation oid, out all_changes boolean, out old_values boolean)
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  with hook as (
    select string_to_array(w.webhook_docevent, ', ') as events,
           coalesce(w.condition_uses_old, false) or walhook.reads_old(w.webhook_json)
             or (w.is_dynamic_url and walhook.reads_old(w.request_url))
             or exists (select from walhook.webhook_header h where h.webhook_id = w.id and walhook.reads_old(h.value)) as reads_old
      from walhook.webhook w where w.doctype_oid = relation
  ), doctype as (
    select exists (select from pg_attribute a where a.attrelid = relation and a.attname = 'docstatus' and not a.attisdropped
                     and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) as is_submittable,
           -- A row that moves between partitions is a DELETE and an INSERT, which only the key can bring together.
           exists (select from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary and i.indimmediate
                    where c.oid = relation and c.relkind = 'p') as can_move
  )
  select coalesce(bool_or(events && '{on_update,on_change,on_trash,on_submit,on_cancel,on_update_after_submit}'
                          or (can_move and 'after_insert' = any (events))), false),
         coalesce(bool_or(events && '{on_trash,on_change,on_submit,on_cancel,on_update_after_submit}'
                          or ('on_update' = any (events) and (is_submittable or reads_old))), false)
    from hook, doctype
$$;
comment on function walhook.needs(oid) is
  'What the webhooks on a table need: all_changes (not only INSERT and TRUNCATE), old_values (REPLICA IDENTITY FULL).';

create or replace function walhook.own_identity(relation oid, out kind "char", out index_name text, out suffices boolean)
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  with own as (
    select coalesce(r.former, c.relreplident) as kind,
           case when r.former is null
                then (select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
                       where i.indrelid = c.oid and i.indisreplident and c.relreplident = 'i')
                else r.former_index end as index_name
      from pg_class c left join walhook.replica_identity r on r.relation = c.oid and c.relreplident = 'f'
     where c.oid = own_identity.relation
  )
  select o.kind, o.index_name, case o.kind
    when 'f' then true
    -- A deferrable primary key is no identity.
    when 'd' then exists (select from pg_index i where i.indrelid = own_identity.relation and i.indisprimary and i.indimmediate and i.indisvalid)
    -- Another index than the primary key's leaves the document's name out of the stream.
    when 'i' then exists (
      select from pg_index i join pg_class x on x.oid = i.indexrelid
       where i.indrelid = own_identity.relation and x.relname = o.index_name and i.indisvalid and i.indimmediate
         and (i.indisprimary or not exists (select from pg_index p where p.indrelid = own_identity.relation and p.indisprimary)))
    else false end
  from own o
$$;
comment on function walhook.own_identity(oid) is
  'The replica identity that a table has, or had before Walhook set FULL, and whether its UPDATEs and DELETEs could be published with it.';

create or replace function walhook.members(relation oid) returns oid[]
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  select array(select c.oid from pg_class c
    where c.relkind in ('r', 'p') and c.oid in (select members.relation union all select t.relid::oid from pg_partition_tree(members.relation) t)
    order by c.oid)
$$;
comment on function walhook.members(oid) is 'A table, and of a partitioned one everything below it that can have a replica identity.';

create or replace function walhook.has_guard() returns boolean
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_event_trigger t where t.evtname = 'walhook_guard' and t.evtenabled in ('O', 'A'))
$$;
comment on function walhook.has_guard() is
  'Whether the event trigger is there that gives new partitions their replica identity at once; only a superuser can install it.';

-- Replica identity ------------------------------------------------------------------------------------------------

create or replace function walhook.full_identity_problem(relation oid, out problem text, out remedy text)
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  tree constant oid[] := walhook.members(coalesce(pg_partition_root(relation)::oid, relation));
  others text;
begin
  if exists (select from pg_attribute a where a.attrelid = relation and a.attgenerated = 'v' and not a.attisdropped) then
    problem := 'it has a virtual generated column, with which PostgreSQL refuses UPDATE and DELETE under REPLICA IDENTITY FULL';
    remedy := 'Use events and conditions that need no old values, or make the column STORED.';
    return;
  end if;
  -- Some catalog columns are younger than 14: read as JSON, they are NULL where they do not exist.
  select string_agg(quote_ident(p.pubname), ', ' order by p.pubname) into others
    from pg_publication p
   where p.pubname not in ('walhook_all', 'walhook_insert') and (p.pubupdate or p.pubdelete)
     and (exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = any (tree) and to_jsonb(r) ->> 'prattrs' is not null)
          or (to_jsonb(p) ->> 'pubgencols' = 'n'
              and exists (select from pg_attribute a where a.attrelid = relation and a.attgenerated = 's' and not a.attisdropped)
              and exists (select from pg_publication_tables t join pg_namespace n on n.nspname = t.schemaname
                            join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
                           where t.pubname = p.pubname and c.oid = any (tree))));
  if others is not null then
    problem := format('publication %s sends only some of its columns, with which PostgreSQL refuses UPDATE and DELETE under REPLICA IDENTITY FULL', others);
    remedy := 'Let that publication send every column (also generated ones), or use events and conditions that need no old values.';
  end if;
end $$;
comment on function walhook.full_identity_problem(oid) is
  'Why REPLICA IDENTITY FULL would make the application''s own statements fail; NULL where it would not.';

create or replace function walhook.set_full_identity(relation oid) returns boolean
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  former record;
begin
  if not exists (select from pg_class c where c.oid = relation and c.relreplident <> 'f') then return false; end if;
  -- A record of FULL that somebody else has replaced meanwhile is out of date.
  delete from walhook.replica_identity r where r.relation = set_full_identity.relation;
  select o.kind, o.index_name into former from walhook.own_identity(relation) o;
  execute format('alter table only %s replica identity full', relation::regclass);
  insert into walhook.replica_identity (relation, former, former_index)
    values (relation, case when former.kind = 'i' and former.index_name is null then 'n' else former.kind end, former.index_name);
  return true;
end $$;
comment on function walhook.set_full_identity(oid) is 'Sets REPLICA IDENTITY FULL and records what was there before; false where it is FULL already.';

create or replace function walhook.restore_replica_identity(relation oid) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  former record;
  leaf oid;
begin
  select r.former, r.former_index into former from walhook.replica_identity r where r.relation = restore_replica_identity.relation;
  if not found then return; end if;
  -- The root first, as the application's statements do it: a partition before its root would be a deadlock with them.
  leaf := (select coalesce(pg_partition_root(c.oid)::oid, c.oid) from pg_class c where c.oid = restore_replica_identity.relation);
  if leaf is not null then execute format('lock table only %s in access exclusive mode', leaf::regclass); end if;
  -- Partitions that came after FULL was set have it from the event trigger, which keeps no record.
  for leaf in
    select c.oid from pg_partition_tree(relation) t join pg_class c on c.oid = t.relid
     where c.oid <> restore_replica_identity.relation and c.relkind in ('r', 'p') and c.relreplident = 'f'
       and not exists (select from walhook.replica_identity r where r.relation = c.oid)
  loop
    execute format('alter table only %s replica identity %s', leaf::regclass, case former.former when 'n' then 'nothing' else 'default' end);
  end loop;
  -- Dropped meanwhile, or altered by somebody else, which is theirs to keep.
  if exists (select from pg_class c where c.oid = restore_replica_identity.relation and c.relreplident = 'f') then
    if former.former = 'i' and exists (
      select from pg_index i join pg_class x on x.oid = i.indexrelid
      where i.indrelid = restore_replica_identity.relation and x.relname = former.former_index and i.indisvalid) then
      execute format('alter table only %s replica identity using index %I', relation::regclass, former.former_index);
    elsif former.former = 'd' then
      execute format('alter table only %s replica identity default', relation::regclass);
    else
      execute format('alter table only %s replica identity nothing', relation::regclass);
    end if;
  end if;
  delete from walhook.replica_identity r where r.relation = restore_replica_identity.relation;
end $$;
comment on function walhook.restore_replica_identity(oid) is 'Gives a table the replica identity back that it had before Walhook set FULL.';

create or replace function walhook.restore_replica_identities() returns integer
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  relation oid;
  restored integer := 0;
begin
  for relation in select r.relation::oid from walhook.replica_identity r loop
    perform walhook.restore_replica_identity(relation);
    restored := restored + 1;
  end loop;
  return restored;
end $$;
comment on function walhook.restore_replica_identities() is
  'Gives every table its former replica identity back, as uninstalling does, in the transaction that drops the publications. Returns how many.';

create or replace function walhook.needs_full(member oid) returns boolean
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  select n.all_changes and (n.old_values or not o.suffices)
    from walhook.needs(coalesce(pg_partition_root(member)::oid, member)) n, walhook.own_identity(member) o
$$;
comment on function walhook.needs_full(oid) is 'Whether the webhooks on a table, or on the root of a partition, need REPLICA IDENTITY FULL on it.';

create or replace function walhook.ensure_leaf_identity(leaf oid) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms'
as $$
declare
  found text;
begin
  if not coalesce(walhook.needs_full(leaf), false) then return 'not needed'; end if;
  found := (select p.problem from walhook.full_identity_problem(leaf) p);
  if found is not null then return 'not possible: ' || found; end if;
  return case when walhook.set_full_identity(leaf) then 'set' else 'full already' end;
exception
  when lock_not_available or deadlock_detected then return 'locked';
  when insufficient_privilege then return 'not permitted: ' || sqlerrm;
end $$;
comment on function walhook.ensure_leaf_identity(oid) is
  'Sets REPLICA IDENTITY FULL on a partition that came after its webhook, where the root needs it. Returns what it did; locked: try again.';

create or replace function walhook.settle_replica_identities() returns integer
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms'
as $$
declare
  member oid;
  restored integer := 0;
begin
  perform pg_advisory_xact_lock(hashtext('walhook.publish'));
  for member in select r.relation::oid from walhook.replica_identity r loop
    if not coalesce(walhook.needs_full(member), false) then
      begin
        perform walhook.restore_replica_identity(member);
        restored := restored + 1;
      exception when lock_not_available or deadlock_detected or insufficient_privilege then
        null; -- The next round tries again.
      end;
    end if;
  end loop;
  return restored;
exception when lock_not_available then
  return restored;
end $$;
comment on function walhook.settle_replica_identities() is
  'Restores what could not be restored when its last need went, because the table was in use. Returns how many.';

-- Publishing ------------------------------------------------------------------------------------------------------

create or replace function walhook.lock_doctype(relation oid, lock_mode text) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '1s'
as $$
declare
  -- Of a partitioned table every partition; of an inheritance parent the parent alone, as it is published.
  is_partitioned constant boolean := (select c.relkind = 'p' from pg_class c where c.oid = relation);
  holders text;
begin
  execute format('lock table %s %s in %s mode', case when is_partitioned then '' else 'only' end, relation::regclass, lock_mode);
exception when lock_not_available then
  select string_agg(distinct l.pid::text, ', ') into holders from pg_locks l
   where l.relation = any (walhook.members(lock_doctype.relation)) and l.granted and l.pid <> pg_backend_pid()
     and l.database = (select d.oid from pg_database d where d.datname = current_database());
  raise exception 'table % is in use: its lock was not to be had within 1 second', relation::regclass using errcode = 'lock_not_available',
    detail = 'A webhook acts on exactly the transactions that commit after its own, so transactions that are writing to the table must end first.'
             || coalesce(' Sessions that hold it: ' || holders || '.', ''),
    hint = 'Try again; pg_stat_activity shows what these sessions do.';
end $$;
comment on function walhook.lock_doctype(oid, text) is 'Locks a table until the end of the transaction, or fails after 1 s.';

create or replace function walhook.is_published(relation oid, publication name) returns boolean
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  select exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
                  where p.pubname = publication and r.prrelid = relation)
$$;
comment on function walhook.is_published(oid, name) is 'Whether a table is a member of a publication.';

create or replace function walhook.publish_doctype(relation oid, allow_full boolean) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  -- With an older snapshot a webhook that somebody else has just added could be missed: then nothing is taken away.
  may_shrink constant boolean := current_setting('transaction_isolation') in ('read committed', 'read uncommitted');
  is_watched constant boolean := exists (select from walhook.webhook w where w.doctype_oid = relation);
  in_insert constant boolean := walhook.is_published(relation, 'walhook_insert');
  in_all constant boolean := walhook.is_published(relation, 'walhook_all');
  kind "char";
  needed record;
  into_all boolean;
  into_insert boolean;
  members oid[];
  to_full oid[];
  member oid;
  name_ text;
  found text;
  remedy text;
  toast_bytes bigint;
  former_lock_timeout text;
begin
  select c.relkind into kind from pg_class c where c.oid = relation;
  if kind is null then
    delete from walhook.replica_identity r where r.relation = publish_doctype.relation;
    return;
  end if;
  members := walhook.members(relation);
  select n.all_changes, n.old_values into needed from walhook.needs(relation) n;
  into_all := needed.all_changes and not in_all;
  into_insert := is_watched and not needed.all_changes and not in_insert;
  to_full := array(select c.oid from unnest(members) m join pg_class c on c.oid = m
                    where c.relreplident <> 'f' and walhook.needs_full(c.oid));

  if into_all or into_insert or cardinality(to_full) > 0 then
    -- Partitions can have other owners than their root.
    select distinct pg_get_userbyid(c.relowner) into name_ from pg_class c
      where c.oid = any (members) and not pg_has_role(current_user, c.relowner, 'USAGE') limit 1;
    if name_ is not null then
      raise exception 'table % belongs to %, for whom % may not act', relation::regclass, name_, current_user
        using errcode = 'insufficient_privilege',
          detail = 'Publishing a table and setting its replica identity is its owner''s right.',
          hint = format('grant %I to %I;', name_, current_user);
    end if;
    if into_all and kind = 'p' and not walhook.has_guard()
      and not exists (select from pg_index i where i.indrelid = relation and i.indisprimary and i.indimmediate) then
      raise exception 'partitioned table % has no primary key: only after_insert and on_truncate can be watched', relation::regclass
        using errcode = 'object_not_in_prerequisite_state',
          detail = 'A partition added later would have no replica identity, and the application''s own UPDATEs of it would fail.',
          hint = 'Add a primary key to the partitioned table, or install Walhook as a superuser, with the event trigger that prevents it.';
    end if;
    foreach member in array to_full loop
      select p.problem, p.remedy into found, remedy from walhook.full_identity_problem(member) p;
      if found is not null then
        raise exception 'this webhook needs REPLICA IDENTITY FULL on %, but %', member::regclass, found
          using errcode = 'object_not_in_prerequisite_state', hint = remedy;
      end if;
    end loop;
    select coalesce(sum(pg_relation_size(c.reltoastrelid)), 0) into toast_bytes
      from pg_class c where c.oid = any (to_full) and c.reltoastrelid <> 0;
    if toast_bytes > 8 * 1024 * 1024 and not allow_full then
      raise exception 'this webhook needs REPLICA IDENTITY FULL on %, which has % of large values', relation::regclass, pg_size_pretty(toast_bytes)
        using errcode = 'object_not_in_prerequisite_state',
          detail = 'Each UPDATE and DELETE would put the whole old row into the write-ahead log.',
          hint = 'Use events and conditions that need no old values, or set allow_replica_identity_full.';
    end if;

    -- The server looks the publication up as it stood when a row was written: transactions that have written to the
    -- table must be over. Nobody may then leave the lock standing: the application waits behind it.
    perform walhook.lock_doctype(relation, case when cardinality(to_full) > 0 then 'access exclusive' else 'share row exclusive' end);
    if (select s.setting::integer = 0 or s.setting::integer > 10000 from pg_settings s where s.name = 'idle_in_transaction_session_timeout') then
      perform set_config('idle_in_transaction_session_timeout', '10s', true);
    end if;
  end if;

  former_lock_timeout := current_setting('lock_timeout');
  perform set_config('lock_timeout', '1s', true);
  foreach member in array to_full loop
    if walhook.set_full_identity(member) and member = relation then
      raise notice 'REPLICA IDENTITY FULL is set on %: each UPDATE and DELETE puts the whole old row into the write-ahead log', relation::regclass;
    end if;
  end loop;

  -- Into the publication after its identity is there, out of it before the identity goes.
  if into_all then execute format('alter publication walhook_all add table only %s', relation::regclass); end if;
  if into_insert then execute format('alter publication walhook_insert add table only %s', relation::regclass); end if;
  if may_shrink then
    if in_all and not needed.all_changes then
      execute format('alter publication walhook_all drop table only %s', relation::regclass);
    end if;
    if in_insert and (needed.all_changes or not is_watched) then
      execute format('alter publication walhook_insert drop table only %s', relation::regclass);
    end if;
    foreach member in array members loop
      continue when walhook.needs_full(member)
        or not exists (select from walhook.replica_identity r where r.relation = member);
      begin
        perform walhook.restore_replica_identity(member);
      exception when lock_not_available or deadlock_detected or insufficient_privilege then
        raise notice '% keeps REPLICA IDENTITY FULL for now: %', member::regclass, sqlerrm
          using hint = 'The bridge restores it later; or: select walhook.settle_replica_identities();';
      end;
    end loop;
  end if;
  perform set_config('lock_timeout', former_lock_timeout, true);
end $$;
comment on function walhook.publish_doctype(oid, boolean) is
  'Puts a table into the publication that its webhooks need, sets or restores its replica identity.';

create or replace function walhook.publish_webhook() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- Enabling and disabling changes nothing here: it takes no lock, and no event is missed in between.
  if tg_op = 'UPDATE' and new.enabled <> old.enabled
    and (to_jsonb(new) - '{enabled,modified_at}'::text[]) = (to_jsonb(old) - '{enabled,modified_at}'::text[]) then
    return null;
  end if;
  -- One at a time: each must see what the one before it has committed.
  perform pg_advisory_xact_lock(hashtext('walhook.publish'));
  if tg_op <> 'DELETE' then
    perform walhook.publish_doctype(new.doctype_oid,
      (select bool_or(w.allow_replica_identity_full) from walhook.webhook w where w.doctype_oid = new.doctype_oid));
  end if;
  if tg_op = 'DELETE' or (tg_op = 'UPDATE' and old.doctype_oid <> new.doctype_oid) then
    perform walhook.publish_doctype(old.doctype_oid, true);
  end if;
  return null;
end $$;
comment on function walhook.publish_webhook() is
  'Trigger: publishes what the webhooks on the table need. SECURITY DEFINER: publications and tables are the owners''.';

create or replace trigger webhook_50_publish after insert or update or delete on walhook.webhook
  for each row execute function walhook.publish_webhook();

do $$
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'walhook_bridge') then
    grant execute on function walhook.settle_replica_identities() to walhook_bridge;
  end if;
end $$;

insert into walhook.migration (version, name) values (55, 'publishing') on conflict do nothing;

commit;
