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
      when check_violation then
        return format('added %s; walhook.webhook_request_log_default holds rows of %s: move them out, then the partition can be made', added, day);
    end;
  end loop;
  return format('added %s', added);
end $$;
comment on function walhook.add_log_partitions(integer) is
  'Makes the log''s partitions for today and so many days ahead. Never waits longer than 100 ms; returns in words what it did.';

create or replace function walhook.drop_log_partitions(keep interval default '30 days', max_bytes bigint default null) returns text
  language plpgsql security definer set search_path = pg_catalog, pg_temp
  set lock_timeout = '100ms' set timezone = 'UTC'
as $$
declare
  part record;
  dropped integer := 0;
  total_bytes bigint;
begin
  select coalesce(sum(pg_total_relation_size(i.inhrelid)), 0) into total_bytes
    from pg_inherits i where i.inhparent = 'walhook.webhook_request_log'::regclass;
  for part in
    select c.oid, c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'walhook.webhook_request_log'::regclass and c.relname ~ '^webhook_request_log_[0-9]{8}$'
    order by 3
  loop
    continue when part.day >= current_date;
    exit when part.day + 1 > current_date - keep and (max_bytes is null or total_bytes <= max_bytes);
    begin
      total_bytes := total_bytes - pg_total_relation_size(part.oid);
      execute format('drop table walhook.%I', part.relname);
      dropped := dropped + 1;
    exception when lock_not_available then
      return format('dropped %s; %s is being read, the next round tries again', dropped, part.relname);
    end;
  end loop;
  return format('dropped %s', dropped);
end $$;
comment on function walhook.drop_log_partitions(interval, bigint) is
  'Drops the log''s partitions past their time, and the oldest ones beyond a total size. Never waits longer than 100 ms; returns in words what it did.';

select walhook.add_log_partitions(7);

insert into walhook.migration (version, name) values (58, 'log_partitions') on conflict do nothing;

commit;
