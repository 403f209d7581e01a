-- Walhook 055: which tables are in which publication, and with which replica identity: always what the webhooks need
-- and no more, changed in the transaction that changes the webhooks.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.needs(relation oid, out all_changes boolean, out old_values boolean)
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  with hook as (
    select string_to_array(w.webhook_docevent, ', ') as events,
           coalesce(w.condition_uses_old, false) or concat_ws(' ', w.webhook_json, w.request_url,
             (select string_agg(h.value, ' ') from walhook.webhook_header h where h.webhook_id = w.id)) ~ '\{\{[^}]*\mold\M'
             or w.webhook_json ~ '\mold\M' as reads_old
    from walhook.webhook w where w.doctype_oid = relation
  ), table_ as (
    select exists (
      select from pg_attribute a where a.attrelid = relation and a.attname = 'docstatus' and not a.attisdropped
        and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) as submittable
  )
  select coalesce(bool_or(events && '{on_update,on_change,on_trash,on_submit,on_cancel,on_update_after_submit}'), false),
         coalesce(bool_or(
           events && '{on_trash,on_change,on_submit,on_cancel,on_update_after_submit}'
           or ('on_update' = any (events) and (submittable or reads_old))), false)
  from hook, table_
$$;
comment on function walhook.needs(oid) is
  'What the webhooks on a table need: all_changes (not only INSERT and TRUNCATE), old_values (REPLICA IDENTITY FULL).';

create or replace function walhook.has_key_identity(relation oid) returns boolean
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  -- DEFAULT is the primary key; USING INDEX counts where the index is the primary key's.
  select exists (
    select from pg_class c join pg_index i on i.indrelid = c.oid and i.indisprimary
    where c.oid = relation and (c.relreplident = 'd' or (c.relreplident = 'i' and i.indisreplident)))
$$;
comment on function walhook.has_key_identity(oid) is 'Whether a table''s replica identity is its primary key.';

create or replace function walhook.restore_replica_identity(relation oid) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  former record;
begin
  delete from walhook.replica_identity r where r.relation = restore_replica_identity.relation
    returning r.former, r.former_index into former;
  if former.former is null then return; end if;
  -- Dropped meanwhile, or altered by somebody else, which is theirs to keep.
  if not exists (select from pg_class c where c.oid = restore_replica_identity.relation and c.relreplident = 'f') then return; end if;
  if former.former = 'i' and exists (
    select from pg_index i join pg_class x on x.oid = i.indexrelid
    where i.indrelid = restore_replica_identity.relation and x.relname = former.former_index and i.indisvalid) then
    execute format('alter table only %s replica identity using index %I', relation::regclass, former.former_index);
  elsif former.former = 'n' then
    execute format('alter table only %s replica identity nothing', relation::regclass);
  else
    execute format('alter table only %s replica identity default', relation::regclass);
  end if;
end $$;
comment on function walhook.restore_replica_identity(oid) is 'Gives a table the replica identity back that it had before Walhook set FULL.';

create or replace function walhook.set_full_identity(relation oid) returns boolean
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  former "char";
  index_name text;
begin
  select c.relreplident into former from pg_class c where c.oid = relation;
  if former is null or former = 'f' then return false; end if;
  select x.relname into index_name from pg_index i join pg_class x on x.oid = i.indexrelid
    where i.indrelid = relation and i.indisreplident and former = 'i';
  execute format('alter table only %s replica identity full', relation::regclass);
  insert into walhook.replica_identity (relation, former, former_index)
    values (relation, case when former = 'i' and index_name is null then 'd' else former end, index_name)
    on conflict on constraint replica_identity_pkey do nothing;
  return true;
end $$;
comment on function walhook.set_full_identity(oid) is 'Sets REPLICA IDENTITY FULL and records what was there before.';

create or replace function walhook.ensure_leaf_identity(leaf oid) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms'
as $$
begin
  if not exists (select from walhook.replica_identity r where r.relation = pg_partition_root(leaf))
    and not (select n.old_values from walhook.needs(pg_partition_root(leaf)) n) then
    return 'not needed';
  end if;
  return case when walhook.set_full_identity(leaf) then 'set' else 'full already' end;
exception
  when lock_not_available then return 'locked';
  when insufficient_privilege then return 'not permitted: ' || sqlerrm;
end $$;
comment on function walhook.ensure_leaf_identity(oid) is
  'Sets REPLICA IDENTITY FULL on a partition that came after its webhook, where the root needs it. Returns what it did; locked: try again.';

create or replace function walhook.publish_doctype(relation oid, allow_full boolean) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  c pg_class%rowtype;
  webhooks integer;
  needed record;
  needs_full boolean;
  in_insert boolean;
  in_all boolean;
  members oid[];
  member oid;
  former_lock_timeout constant text := current_setting('lock_timeout');
  former_idle_timeout constant text := current_setting('idle_in_transaction_session_timeout');
  owner_name name;
  toast_bytes bigint;
begin
  select t.* into c from pg_class t where t.oid = relation;
  if c.oid is null then return; end if;
  select count(*) into webhooks from walhook.webhook w where w.doctype_oid = relation;
  select n.all_changes, n.old_values into needed from walhook.needs(relation) n;
  in_insert := exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where p.pubname = 'walhook_insert' and r.prrelid = relation);
  in_all := exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid where p.pubname = 'walhook_all' and r.prrelid = relation);
  members := array(select t.relid::oid from pg_partition_tree(relation) t union select relation);
  needs_full := needed.all_changes and (needed.old_values or not walhook.has_key_identity(relation)
    -- An identity that Walhook has set hides the one below it.
      and not exists (select from walhook.replica_identity r join pg_index i on i.indrelid = r.relation and i.indisprimary
                      where r.relation = publish_doctype.relation and r.former in ('d', 'i')));

  if webhooks > 0 then
    -- Owners of all of it, since partitions can have others than their root.
    select distinct pg_get_userbyid(m.relowner) into owner_name from pg_class m
      where m.oid = any (members) and not pg_has_role(current_user, m.relowner, 'USAGE') limit 1;
    if owner_name is not null then
      raise exception 'table % belongs to %, for whom % may not act', relation::regclass, owner_name, current_user
        using errcode = 'insufficient_privilege',
          detail = 'Publishing a table and setting its replica identity is its owner''s right.',
          hint = format('grant %I to %I;', owner_name, current_user);
    end if;
    if needed.all_changes and c.relkind = 'p' and not exists (select from pg_index i where i.indrelid = relation and i.indisprimary) then
      raise exception 'partitioned table % has no primary key: only after_insert and on_truncate can be watched', relation::regclass
        using errcode = 'object_not_in_prerequisite_state',
          detail = 'A partition added later would have no replica identity, and the application''s own UPDATEs of it would fail.',
          hint = 'Add a primary key to the partitioned table.';
    end if;
  end if;

  -- Nothing of the application's may wait long for us, and nobody may leave the lock standing.
  perform set_config('lock_timeout', '1s', true);
  if webhooks > 0 and (not (in_insert or in_all) or (needed.all_changes and not in_all)) then
    if former_idle_timeout in ('0', '0ms') or former_idle_timeout::interval > interval '10 s' then
      perform set_config('idle_in_transaction_session_timeout', '10s', true);
    end if;
    -- Transactions that have written to the table before it is published must be over: their rows are not in the stream.
    execute format('lock table %s in share row exclusive mode', relation::regclass);
  end if;

  if needs_full then
    foreach member in array members loop
      if exists (select from pg_class m where m.oid = member and m.relreplident <> 'f') then
        select coalesce(sum(pg_relation_size(m.reltoastrelid)), 0) into toast_bytes from pg_class m where m.oid = member and m.reltoastrelid <> 0;
        if toast_bytes > 8 * 1024 * 1024 and not allow_full then
          raise exception 'this webhook needs REPLICA IDENTITY FULL on %, which has % of large values', member::regclass, pg_size_pretty(toast_bytes)
            using errcode = 'object_not_in_prerequisite_state',
              detail = 'Each UPDATE and DELETE would put the whole old row into the write-ahead log.',
              hint = 'Use events and conditions that need no old values, or set allow_replica_identity_full.';
        end if;
        if walhook.set_full_identity(member) and member = relation then
          raise notice 'REPLICA IDENTITY FULL is set on %: each UPDATE and DELETE puts the whole old row into the write-ahead log', relation::regclass;
        end if;
      end if;
    end loop;
  end if;

  -- Into the publication after its identity is there, out of it before the identity goes.
  if webhooks > 0 and needed.all_changes and not in_all then
    execute format('alter publication walhook_all add table only %s', relation::regclass);
  elsif not (webhooks > 0 and needed.all_changes) and in_all then
    execute format('alter publication walhook_all drop table only %s', relation::regclass);
  end if;
  if webhooks > 0 and not needed.all_changes and not in_insert then
    execute format('alter publication walhook_insert add table only %s', relation::regclass);
  elsif not (webhooks > 0 and not needed.all_changes) and in_insert then
    execute format('alter publication walhook_insert drop table only %s', relation::regclass);
  end if;

  if not needs_full then
    foreach member in array members loop
      perform walhook.restore_replica_identity(member);
    end loop;
  end if;
  perform set_config('lock_timeout', former_lock_timeout, true);
exception when lock_not_available then
  raise exception 'table % is in use: its lock was not to be had within 1 second', relation::regclass using errcode = 'lock_not_available',
    detail = 'A webhook acts on exactly the transactions that commit after its own, so transactions that are writing to the table must end first.',
    hint = 'Try again; pg_stat_activity and pg_locks show who holds it.';
end $$;
comment on function walhook.publish_doctype(oid, boolean) is
  'Puts a table into the publication that its webhooks need, sets or restores its replica identity.';

create or replace function walhook.publish_webhook() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'UPDATE' and (to_jsonb(new) - '{enabled,modified_at,author,revision}'::text[])
    = (to_jsonb(old) - '{enabled,modified_at,author,revision}'::text[])
    and not exists (select from walhook.webhook_header h where h.webhook_id = new.id and h.value ~ '\mold\M') then
    return null;
  end if;
  -- One at a time: each must see what the one before it has committed.
  perform pg_advisory_xact_lock(hashtext('walhook.publish'));
  if tg_op <> 'DELETE' then
    perform walhook.publish_doctype(new.doctype_oid, new.allow_replica_identity_full);
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
  'Gives every table its former replica identity back, as uninstalling does; drop the publications first. Returns how many.';

insert into walhook.migration (version, name) values (55, 'publishing') on conflict do nothing;

commit;
