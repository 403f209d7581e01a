-- Walhook 090: how large a row of the configuration may be. The bridge keeps all of it in memory and reads it in the
-- stream whole, whatever --max-row-bytes says of other tables.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.validate_size() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  size integer := octet_length(new::text);
begin
  if size > 1048576 then
    raise exception '%.%: the row has % bytes as text, and 1048576 are the most', tg_table_schema, tg_table_name, size
      using errcode = 'program_limit_exceeded', hint = 'Templates, conditions and headers are kept in memory: let the receiver add what does not change.';
  end if;
  return new;
end $$;
comment on function walhook.validate_size() is 'Trigger: refuses a row of more than 1 MiB.';

-- Before the triggers that parse and compile.
create or replace trigger webhook_06_size before insert or update on walhook.webhook
  for each row execute function walhook.validate_size();
create or replace trigger webhook_header_06_size before insert or update on walhook.webhook_header
  for each row execute function walhook.validate_size();
create or replace trigger webhook_data_06_size before insert or update on walhook.webhook_data
  for each row execute function walhook.validate_size();

revoke all on function walhook.validate_size() from public;

insert into walhook.migration (version, name) values (90, 'limits') on conflict do nothing;

commit;
