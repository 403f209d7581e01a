-- Walhook 200: what a webhook has waiting, has sent and signs with is of its table: who takes it to another one, or asks for rows of it, must be
-- able to read that. A name is compared by the types under the domains of a key, so that no check of a domain runs for whoever asks.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.check_takeover() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  found record;
begin
  if exists (select from pg_class c where c.oid = old.doctype_oid) then
    select p.problem, p.remedy into found
      from walhook.author_problem((select r.oid from pg_roles r where r.rolname = current_user), old.doctype_oid) p;
    if found.problem is not null then
      raise exception 'webhook "%": it cannot be taken to another table: %', old.name, found.problem using errcode = 'insufficient_privilege',
        detail = 'What waits for it, what was sent by it and what it signs with are of its present table.',
        hint = coalesce(found.remedy, 'Make a webhook of your own.');
    end if;
  elsif not exists (select from pg_roles r where r.rolname = current_user and (r.rolsuper or r.oid = old.author or exists (
      select from pg_roles a where a.oid = old.author and pg_has_role(r.oid, a.oid, 'USAGE')))) then
    raise exception 'webhook "%": its table does not exist any more, and only its author may take it to another one', old.name
      using errcode = 'insufficient_privilege', detail = 'What waits for it, what was sent by it and what it signs with are of its former table.',
        hint = format('Its author is %s. Or delete it, and make a webhook of your own.', old.author);
  end if;
  return new;
end $$;
comment on function walhook.check_takeover() is 'Trigger: who takes a webhook to another table must be able to read the one that it was of.';

create or replace trigger webhook_17_takeover before update on walhook.webhook
  for each row when (new.webhook_doctype is distinct from old.webhook_doctype) execute function walhook.check_takeover();

create or replace function walhook.check_requester() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  w record;
  found record;
begin
  select h.name, h.doctype_oid into w from walhook.webhook h where h.id = new.webhook_id;
  if w.name is null then
    raise exception 'there is no webhook with the number %', new.webhook_id using errcode = 'foreign_key_violation', hint = 'They stand in walhook.webhook.';
  end if;
  if tg_table_name = 'backfill_request' then
    if new.doctype_oid <> w.doctype_oid then
      raise exception 'webhook "%" does not watch %', w.name, new.doctype_oid::regclass using errcode = 'invalid_parameter_value', hint = 'Ask by walhook.backfill(…).';
    end if;
  elsif new.kind <> 'replay_log' then
    -- Dead letters go where they were going anyway, and to cancel shows nothing.
    return new;
  end if;
  select p.problem, p.remedy into found
    from walhook.author_problem((select r.oid from pg_roles r where r.rolname = current_user), w.doctype_oid) p;
  if found.problem is not null then
    raise exception 'webhook "%": %', w.name, found.problem using errcode = 'insufficient_privilege',
      detail = 'Whoever has rows sent, or sent again, must be able to be the webhook''s author.', hint = coalesce(found.remedy, 'Make a webhook on a table that is there, and that you can read.');
  end if;
  return new;
end $$;
comment on function walhook.check_requester() is 'Trigger: who asks for rows to be sent, or sent again, must be able to read their table, whether they call a function or write the row.';

create or replace trigger repair_20_rights before insert on walhook.repair
  for each row execute function walhook.check_requester();
create or replace trigger backfill_request_20_rights before insert on walhook.backfill_request
  for each row execute function walhook.check_requester();

create or replace function walhook.key_condition(doctype_oid oid, docname text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  keys record;
  texts text[] := array[docname];
begin
  select array_agg(a.attname order by k.place) as names, array_agg(format_type(walhook.base_type(a.atttypid), a.atttypmod) order by k.place) as types,
         array_agg(a.atttypid order by k.place) as oids into keys
    from pg_index i
   cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
   where i.indrelid = doctype_oid and i.indisprimary and k.place <= i.indnkeyatts;
  if keys.names is null then
    raise exception '% has no primary key, so its documents have no name', doctype_oid::regclass using errcode = 'invalid_parameter_value',
      hint = 'Choose rows by a condition: condition => ''doc.total > 100''.';
  end if;
  if walhook.is_short_name(docname) then
    raise exception '%… is the shortened name of a document of %', quote_literal(left(docname, 40)), regexp_replace(doctype_oid::regclass::text, '^public\.', '')
      using errcode = 'invalid_parameter_value', detail = 'The log and the queue have no more of a long name; no row is found by that.',
      hint = 'Give the whole name, which is in the body that was sent, or choose rows by a condition.';
  end if;
  if cardinality(keys.names) > 1 then
    begin
      texts := array(select e.value from jsonb_array_elements_text(docname::jsonb) with ordinality as e (value, n) order by e.n);
    exception when others then
      texts := '{}';
    end;
    if cardinality(texts) <> cardinality(keys.names) then
      raise exception '% is no name of a document of %', quote_literal(docname), doctype_oid::regclass using errcode = 'invalid_parameter_value',
        hint = format('Its key is (%s): the name is a JSON array of their texts, for example %s.', array_to_string(keys.names, ', '),
          quote_literal(jsonb_build_array(variadic (select array_agg(n::text) from generate_subscripts(keys.names, 1) n))));
    end if;
  end if;
  return (select string_agg(walhook.key_is(keys.names[n], keys.oids[n], keys.types[n], texts[n]), ' and ') from generate_subscripts(keys.names, 1) n);
end $$;

revoke all on function walhook.check_takeover(), walhook.check_requester() from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant execute on function walhook.check_takeover(), walhook.check_requester() to walhook_admin']);
end $$;

insert into walhook.migration (version, name) values (200, 'takeover') on conflict do nothing;

commit;
