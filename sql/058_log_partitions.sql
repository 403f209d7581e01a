-- Walhook 058: one partition of the log a UTC day, made ahead and dropped whole. Neither ever waits longer than 100 ms
-- for a lock, since every INSERT into the log would wait behind it.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.add_log_partitions(days_ahead integer default 7) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  day date;
  partition_name text;
  added integer := 0;
  skipped text[] := '{}';
begin
  for day in select d::date from generate_series(current_date, current_date + days_ahead, interval '1 day') d loop
    partition_name := 'webhook_request_log_' || to_char(day, 'YYYYMMDD');
    continue when to_regclass('walhook.' || partition_name) is not null;
    begin
      -- CREATE … PARTITION OF takes ACCESS EXCLUSIVE on the parent; ATTACH takes SHARE UPDATE EXCLUSIVE, and with the CHECK reads nothing.
      execute format('create table walhook.%I (like walhook.webhook_request_log including defaults including constraints)', partition_name);
      execute format('alter table walhook.%I add constraint partition_day check (sent_at is not null and sent_at >= %L and sent_at < %L)',
        partition_name, day::timestamptz, (day + 1)::timestamptz);
      execute format('alter table walhook.webhook_request_log attach partition walhook.%I for values from (%L) to (%L)',
        partition_name, day::timestamptz, (day + 1)::timestamptz);
      execute format('alter table walhook.%I drop constraint partition_day', partition_name);
      execute format('comment on table walhook.%I is %L', partition_name, 'The log of ' || day || ' (UTC).');
      added := added + 1;
    exception
      when lock_not_available then return format('added %s; %s waits for a lock, the next round tries again', added, partition_name);
      -- Rows of that day stand in the default partition already: they stay there, and go with their time.
      when check_violation then skipped := skipped || day::text;
    end;
  end loop;
  return format('added %s', added) || case when skipped = '{}' then '' else
    format('; the default partition holds rows of %s', array_to_string(skipped, ', ')) end;
end $$;
comment on function walhook.add_log_partitions(integer) is
  'Makes the log''s partitions for today and so many days ahead. Never waits longer than 100 ms; returns in words what it did.';

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
    || case when busy <> '{}' then format('; %s in use, the next round tries again', array_to_string(busy, ', ')) else '' end;
end $$;
comment on function walhook.drop_log_partitions(interval, bigint) is
  'Drops the log''s partitions past their time, and the oldest ones beyond a total size. Never waits longer than 100 ms; returns in words what it did.';

select walhook.add_log_partitions(7);

insert into walhook.migration (version, name) values (58, 'log_partitions') on conflict do nothing;

commit;
