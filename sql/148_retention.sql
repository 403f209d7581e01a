-- Walhook 148: how long the log keeps its rows, and how long their bodies.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- As before, and says where today's partition alone is larger than all may be.
create or replace function walhook.drop_log_partitions(keep interval default '30 days', max_bytes bigint default null) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  log constant regclass := 'walhook.webhook_request_log';
  part record;
  due name[] := '{}';
  busy name[] := '{}';
  total_bytes bigint;
  old_rows bigint;
begin
  total_bytes := (select coalesce(sum(pg_total_relation_size(i.inhrelid)), 0) from pg_inherits i where i.inhparent = log);
  for part in
    select c.relname, pg_total_relation_size(c.oid) as bytes, to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = log and c.relname ~ '^webhook_request_log_[0-9]{8}$'
    order by 3
  loop
    exit when part.day >= current_date
      or (part.day + 1 > current_date - keep and (max_bytes is null or total_bytes <= max_bytes));
    total_bytes := total_bytes - part.bytes;
    -- First what nobody writes to; the parent, behind which every INSERT waits, last and once.
    begin
      execute format('lock table walhook.%I in access exclusive mode', part.relname);
      due := due || part.relname;
    exception when lock_not_available or deadlock_detected then
      busy := busy || part.relname;
    end;
  end loop;

  if due <> '{}' then
    begin
      perform set_config('lock_timeout', '50ms', true);
      lock table walhook.webhook_request_log_default in access exclusive mode;
      lock table only walhook.webhook_request_log in access exclusive mode;
      for part in select unnest(due) as relname loop
        execute format('drop table walhook.%I', part.relname);
      end loop;
    exception when lock_not_available or deadlock_detected then
      busy := due || busy;
      due := '{}';
    end;
  end if;

  delete from walhook.webhook_request_log_default d where d.sent_at < current_date - keep;
  get diagnostics old_rows = row_count;
  return format('dropped %s', cardinality(due))
    || case when old_rows > 0 then format('; deleted %s rows of the default partition', old_rows) else '' end
    || case when busy <> '{}' then format('; %s in use, the next round tries again', array_to_string(busy, ', ')) else '' end
    || case when total_bytes > max_bytes then '; the log of today is larger than all may be, see log_request_bytes' else '' end;
end $$;

create or replace function walhook.thin_log_partition(keep interval) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  part record;
  index_oid oid;
  thin text;
  columns text;
  kept text;
begin
  select c.relname, c.oid, to_date(right(c.relname, 8), 'YYYYMMDD') as day into part
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
   where i.inhparent = 'walhook.webhook_request_log'::regclass and c.relname ~ '^webhook_request_log_[0-9]{8}$'
     and to_date(right(c.relname, 8), 'YYYYMMDD') + 1 <= current_date - greatest(keep, interval '1 day')
     and not exists (select from pg_constraint k where k.conrelid = c.oid and k.conname = 'webhook_request_log_thin')
   order by 3 limit 1;
  if part.relname is null then return ''; end if;
  thin := 'thin_' || part.relname;
  select string_agg(quote_ident(a.attname), ', ' order by a.attnum),
         string_agg(case when a.attname in ('request_body', 'response_body') then 'null'
                         when a.attname = 'body_kept' then 'case when body_kept = ''expunged'' or request_bytes is null and request_body is null then body_kept else ''none'' end'
                         else quote_ident(a.attname) end, ', ' order by a.attnum)
    into columns, kept
    from pg_attribute a where a.attrelid = part.oid and a.attnum > 0 and not a.attisdropped;

  begin
    -- Nobody writes to a day that is over but walhook.expunge; who reads goes on.
    execute format('lock table walhook.%I in share row exclusive mode', part.relname);
    execute format('create table walhook.%I (like walhook.webhook_request_log including defaults including constraints including indexes)', thin);
    execute format('insert into walhook.%I (%s) select %s from walhook.%I', thin, columns, kept, part.relname);
    for index_oid in select x.indexrelid from pg_index x join pg_class c on c.oid = x.indexrelid join pg_am m on m.oid = c.relam
      where x.indrelid = format('walhook.%I', thin)::regclass and m.amname = 'brin' loop
      perform brin_summarize_new_values(index_oid::regclass);
    end loop;
    execute format('alter table walhook.%I add constraint webhook_request_log_thin check (request_body is null and response_body is null)', thin);
    execute format('alter table walhook.%I add constraint partition_day check (sent_at is not null and sent_at >= %L and sent_at < %L)',
      thin, part.day::timestamptz, (part.day + 1)::timestamptz);
    -- Behind whoever waits for the parent every INSERT waits: last, once, and not for long.
    execute format('lock table walhook.%I in access exclusive mode', part.relname);
    perform set_config('lock_timeout', '50ms', true);
    lock table walhook.webhook_request_log_default in access exclusive mode;
    lock table only walhook.webhook_request_log in access exclusive mode;
    execute format('drop table walhook.%I', part.relname);
    execute format('alter table walhook.%I rename to %I', thin, part.relname);
    execute format('alter table walhook.webhook_request_log attach partition walhook.%I for values from (%L) to (%L)',
      part.relname, part.day::timestamptz, (part.day + 1)::timestamptz);
    execute format('alter table walhook.%I drop constraint partition_day', part.relname);
    execute format('comment on table walhook.%I is %L', part.relname, 'The log of ' || part.day || ' (UTC), without bodies.');
  exception when lock_not_available or deadlock_detected then
    return format('%s in use, its bodies stay until the next round', part.relname);
  end;
  return format('took the bodies out of %s', part.relname);
end $$;
comment on function walhook.thin_log_partition(interval) is
  'Takes the bodies out of the oldest partition of the log that is older than that, at least a day, by writing it anew: its space is given back. Never waits longer than 100 ms for a lock, and while it writes nobody waits for it. Returns in words what it did, empty where there is nothing to do.';

revoke all on function walhook.thin_log_partition(interval) from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant execute on function walhook.thin_log_partition(interval) to walhook_bridge']);
end $$;

insert into walhook.migration (version, name) values (148, 'retention') on conflict do nothing;

commit;
