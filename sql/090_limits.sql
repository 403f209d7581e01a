-- Walhook 090: many and large webhooks. The bridge keeps the configuration in memory, reads it in the stream whole,
-- whatever --max-row-bytes says of other tables, and asks for its authors' rights all the time.
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

-- Once for each author and table, however many webhooks there are.
create or replace function walhook.author_rights() returns table (webhook_id integer, may_read boolean, reason text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  with pair as materialized (
    select distinct w.author, w.doctype_oid from walhook.webhook w
  ), judged as materialized (
    select pair.author, pair.doctype_oid, p.problem, p.remedy
    from pair cross join lateral walhook.author_problem(pair.author, pair.doctype_oid) p
  )
  select w.id, j.problem is null, j.problem || coalesce('; remedy: ' || j.remedy, '')
  from walhook.webhook w join judged j on j.author = w.author and j.doctype_oid = w.doctype_oid;
$$;

insert into walhook.migration (version, name) values (90, 'limits') on conflict do nothing;

commit;
