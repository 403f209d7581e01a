-- Walhook 192: whether a condition is stale is told whatever its author has written into its function's description.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.condition_is_stale(function_name text) returns boolean
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select not exists (select from pg_class c where c.oid = s.relid)
           or s.signature is distinct from (select n.signature from walhook.condition_source(s.relid, array(
                select a.attname::text from pg_attribute a
                 where a.attrelid = s.relid and a.attnum > 0 and not a.attisdropped
                   and position(', ' || quote_ident(a.attname) || ' ' in s.columns) > 0)) n)
      from pg_proc p,
           lateral (select obj_description(p.oid, 'pg_proc') as signature) d,
           -- No more digits than an OID has, and no larger number: the cast would raise an error.
           lateral (select d.signature, substring(d.signature from '^([0-9]{1,10}): ')::bigint as number, ', ' || substring(d.signature from ': (.*)$') as columns) m,
           lateral (select m.signature, case when m.number <= 4294967295 then m.number::oid end as relid, m.columns) s
     where p.pronamespace = 'walhook_condition'::regnamespace and p.proname = function_name and s.relid is not null
  ), true)
$$;
comment on function walhook.condition_is_stale(text) is
  'Whether a condition''s function is gone, its description is no longer Walhook''s, or the columns it reads have changed since it was made: saving the webhook again makes it anew.';

insert into walhook.migration (version, name) values (192, 'stale_conditions') on conflict do nothing;

commit;
