-- Walhook 097: what the hourly maintenance of the log did, where a DBA looks.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

alter table walhook.bridge
  add column if not exists maintenance text,
  add column if not exists maintenance_at timestamptz;
comment on column walhook.bridge.maintenance is
  'What the bridge''s last look at the log''s partitions did, or why it failed, in words. Delivery never waits for it.';
comment on column walhook.bridge.maintenance_at is 'When these words first held; the bridge looks each hour.';

insert into walhook.migration (version, name) values (97, 'maintenance') on conflict do nothing;

commit;
