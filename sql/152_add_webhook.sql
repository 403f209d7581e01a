-- Walhook 152: a webhook in one call, and mistakes in words.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.find_doctype(doctype text) returns regclass
  language plpgsql stable security invoker
as $$
declare
  found pg_catalog.regclass;
  near text;
begin
  -- No search_path of its own: a name means what it means to the caller. What is no identifier is a name as it is shown.
  begin
    found := pg_catalog.to_regclass(doctype);
  exception when others then
    null;
  end;
  if found is null then
    select d.webhook_doctype into found from walhook.doctype d where d.doctype operator(pg_catalog.=) find_doctype.doctype;
  end if;
  if found is not null then return found; end if;
  select pg_catalog.string_agg(n.name, ', ') into near from (
    select pg_catalog.quote_literal(d.webhook_doctype::text) as name
      from walhook.doctype d,
           lateral (select pg_catalog.lower(d.doctype) as known, pg_catalog.lower(pg_catalog.btrim(find_doctype.doctype, '" ')) as asked) s
     where pg_catalog.strpos(s.known, s.asked) operator(pg_catalog.>) 0 or pg_catalog.strpos(s.asked, s.known) operator(pg_catalog.>) 0
        or (pg_catalog.char_length(s.asked) operator(pg_catalog.>) 3 and pg_catalog.left(s.known, 4) operator(pg_catalog.=) pg_catalog.left(s.asked, 4))
     order by pg_catalog.abs(pg_catalog.char_length(s.known) operator(pg_catalog.-) pg_catalog.char_length(s.asked)), d.doctype limit 3) n;
  raise exception 'there is no table "%"', doctype using errcode = 'undefined_table',
    hint = case when near is null then 'Tables that could be watched stand in walhook.doctype.' else 'Did you mean ' operator(pg_catalog.||) near operator(pg_catalog.||) '?' end;
end $$;
comment on function walhook.find_doctype(text) is 'The table of a name: as in a query of the caller''s, or as walhook.doctype shows it.';

create or replace function walhook.add_webhook(
    doctype text, events text, url text, name text default null, condition text default null, data json default null, template text default null,
    headers json default null, secret text default null, method text default 'POST', structure text default 'JSON',
    is_dynamic_url boolean default null, enabled boolean default true, options jsonb default '{}', out webhook_id integer, out webhook text)
  returns record
  language plpgsql volatile security invoker
  -- No search_path of its own: a condition means what it means to its author. So every name below is qualified.
as $$
declare
  relation constant pg_catalog.regclass := walhook.find_doctype(doctype);
  base text;
  tries pg_catalog.int4 := 1;
  unknown text;
  row_ pg_catalog.jsonb;
  columns text;
begin
  select k.key into unknown from pg_catalog.jsonb_object_keys(coalesce(options, '{}')) as k (key)
   where not exists (select from pg_catalog.pg_attribute a
     where a.attrelid operator(pg_catalog.=) 'walhook.webhook'::pg_catalog.regclass and a.attname operator(pg_catalog.=) k.key
       and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped) limit 1;
  if unknown is not null then
    raise exception 'options: a webhook has no column "%"', unknown using errcode = 'undefined_column',
      hint = 'Those of walhook.webhook may stand there, for example {"rate_limit": 20, "batch_size": 100}; \d+ walhook.webhook describes them.';
  end if;
  webhook := name;
  if webhook is null then
    select pg_catalog.regexp_replace(d.doctype operator(pg_catalog.||) '-' operator(pg_catalog.||) pg_catalog.split_part(events, ',', 1), '[^[:alnum:].]+', '-', 'g')
      into base from (select case when n.nspname operator(pg_catalog.=) 'public' then c.relname::text else n.nspname operator(pg_catalog.||) '.' operator(pg_catalog.||) c.relname end as doctype
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace where c.oid operator(pg_catalog.=) relation) d;
    webhook := pg_catalog.btrim(base, '-');
    while exists (select from walhook.webhook w where w.name operator(pg_catalog.=) add_webhook.webhook) loop
      tries := tries operator(pg_catalog.+) 1;
      webhook := pg_catalog.btrim(base, '-') operator(pg_catalog.||) '-' operator(pg_catalog.||) tries;
    end loop;
  end if;
  row_ := pg_catalog.jsonb_build_object(
    'name', webhook, 'webhook_doctype', relation::pg_catalog.oid::text, 'webhook_docevent', events, 'request_url', url, 'condition', condition,
    'webhook_json', template, 'webhook_secret', secret, 'enable_security', secret is not null, 'request_method', method, 'request_structure', structure,
    'is_dynamic_url', coalesce(is_dynamic_url, pg_catalog.strpos(url, '{{') operator(pg_catalog.>) 0, false), 'enabled', enabled)
    operator(pg_catalog.||) coalesce(options, '{}');
  select pg_catalog.string_agg(pg_catalog.quote_ident(k.key), ', ') into columns from pg_catalog.jsonb_object_keys(row_) as k (key);
  -- Columns that are not named keep their defaults.
  execute pg_catalog.format('insert into walhook.webhook (%1$s) select %1$s from pg_catalog.jsonb_populate_record(null::walhook.webhook, $1) returning id, name', columns)
    into webhook_id, webhook using row_;
  if data is not null then
    if pg_catalog.json_typeof(data) operator(pg_catalog.=) 'array' then
      insert into walhook.webhook_data (webhook, fieldname) select add_webhook.webhook, e.value from pg_catalog.json_array_elements_text(data) as e (value);
    elsif pg_catalog.json_typeof(data) operator(pg_catalog.=) 'object' then
      insert into walhook.webhook_data (webhook, key, fieldname) select add_webhook.webhook, e.key, e.value from pg_catalog.json_each_text(data) as e (key, value);
    else
      raise exception 'webhook "%": data is neither a list nor an object', webhook using errcode = 'invalid_parameter_value',
        hint = 'Columns, ["id", "total"], or keys of the body and their columns, {"number": "id"}.';
    end if;
  end if;
  if headers is not null then
    if pg_catalog.json_typeof(headers) operator(pg_catalog.<>) 'object' then
      raise exception 'webhook "%": headers is no object', webhook using errcode = 'invalid_parameter_value',
        hint = 'Names and values: {"Authorization": "Bearer …"}.';
    end if;
    insert into walhook.webhook_header (webhook, key, value) select add_webhook.webhook, e.key, e.value from pg_catalog.json_each_text(headers) as e (key, value);
  end if;
end $$;
comment on function walhook.add_webhook(text, text, text, text, text, json, text, json, text, text, text, boolean, boolean, jsonb) is
  'Makes a webhook, with its header and data rows, and returns its number and name. Only table, events and URL must be given; the rest by name: add_webhook(''orders'', ''after_insert'', ''https://…'', condition => ''doc.total > 100''). data: columns of the body, ["id"], or keys and columns, {"number": "id"}; template: webhook_json; secret: signs with it; options: any other column of walhook.webhook. The same as an INSERT, with the same checks.';

-- Mistakes in words ---------------------------------------------------------------------------------------------------

create or replace function walhook.nearest_event(event text) returns text
  language sql immutable strict set search_path = pg_catalog, pg_temp
as $$
  select case
    when event ~* '(insert|create|new)' then 'after_insert'
    when event ~* '(delete|remove|trash)' then 'on_trash'
    when event ~* 'truncate' then 'on_truncate'
    when event ~* 'after_submit' then 'on_update_after_submit'
    when event ~* 'submit' then 'on_submit'
    when event ~* 'cancel' then 'on_cancel'
    when event ~* 'change' then 'on_change'
    when event ~* '(update|save|modif)' then 'on_update' end
$$;
comment on function walhook.nearest_event(text) is 'The doc event that somebody who writes another word most likely means; NULL where that is anybody''s guess.';

create or replace function walhook.template_warnings(what text, template text, relation oid, is_json boolean)
  returns table (warning text, remedy text)
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  plain text;
  bare record;
begin
  if template is null or position('{{' in template) = 0 and not is_json then return; end if;
  return query
    select format('%s names %s, and %s has no such column: it renders as nothing', what, m.found[1] || '.' || m.found[2], relation::regclass),
           'It has ' || (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped) || '.'
      from (select distinct r.found from regexp_matches(template, '[{]{2,3}(?:[#^&]|#[[:space:]]*json[[:space:]]*[}]{2})?[[:space:]]*(doc|old)[.]([^.{}[:space:]]+)', 'g') as r (found)) m
     where not exists (select from pg_attribute a where a.attrelid = relation and a.attname = m.found[2] and a.attnum > 0 and not a.attisdropped);
  if not is_json then return; end if;
  plain := regexp_replace(template, '[{]{2}#[[:space:]]*json[[:space:]]*[}]{2}[^{}]*[{]{2}/[[:space:]]*json[[:space:]]*[}]{2}', 'null', 'g');
  -- What a section gives depends on the row.
  if plain ~ '[{]{2}[#^]' then return; end if;
  begin
    perform regexp_replace(regexp_replace(plain, '[{]{3}[^{}]*[}]{3}', '0', 'g'), '[{]{2}[^{}]*[}]{2}', '0', 'g')::json;
  exception when invalid_text_representation then
    warning := format('%s gives no JSON, whatever the values are', what);
    remedy := 'For example {"id": {{#json}}doc.id{{/json}}, "status": "{{doc.status}}"}; select * from walhook.preview(…) shows the body.';
    return next;
    return;
  end;
  for bare in
    select distinct m.found[1] as name, a.attnotnull, coalesce(t.typcategory in ('N', 'B'), false) as is_bare
      from regexp_matches(plain, '[:,[][[:space:]]*[{]{2}[[:space:]]*doc[.]([^.{}[:space:]]+)[[:space:]]*[}]{2}', 'g') as m (found)
      join pg_attribute a on a.attrelid = relation and a.attname = m.found[1] and a.attnum > 0 and not a.attisdropped
      join pg_type t on t.oid = walhook.base_type(a.atttypid)
     order by 1
  loop
    continue when bare.is_bare and bare.attnotnull;
    warning := format('%s has {{doc.%s}} outside of quotation marks: %s', what, bare.name,
      case when bare.is_bare then 'where it is NULL, the body is no JSON' else 'the body is no JSON' end);
    remedy := format('Write {{#json}}doc.%s{{/json}}, which gives any value as JSON.', bare.name);
    return next;
  end loop;
end $$;
comment on function walhook.template_warnings(text, text, oid, boolean) is
  'What is likely wrong with a template, though it can be rendered: columns that do not exist, values that make no JSON.';

create or replace function walhook.validate_words() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  known constant text[] := '{after_insert,on_update,on_change,on_trash,on_submit,on_cancel,on_update_after_submit,on_truncate}';
  wrong text;
  likely text;
begin
  select c.name into wrong from (values ('enabled', new.enabled), ('is_dynamic_url', new.is_dynamic_url), ('enable_security', new.enable_security),
    ('allow_replica_identity_full', new.allow_replica_identity_full), ('ordering', new.ordering), ('handshake', new.handshake)) as c (name, value)
   where c.value is null limit 1;
  if wrong is not null then
    raise exception 'webhook "%": % is NULL', new.name, wrong using errcode = 'not_null_violation', hint = 'It is true or false; left out of an INSERT, it has its default.';
  end if;
  if new.rate_limit not between 0.001 and 100000 then
    raise exception 'webhook "%": rate_limit is %', new.name, new.rate_limit using errcode = 'invalid_parameter_value',
      hint = 'Requests a second, 0.001 (one in 1000 seconds) to 100000. NULL: no limit. To send nothing: enabled = false.';
  end if;
  if new.proxy <> 'direct' and new.proxy !~ '^(http|https|socks|socks4|socks4a|socks5|socks5h)://[^/@?#[:space:]]+/?$' then
    -- The text is not repeated where it may hold a password.
    raise exception 'webhook "%": proxy % is no URL of a proxy', new.name, case when new.proxy ~ '@' then 'with credentials' else quote_literal(new.proxy) end
      using errcode = 'invalid_parameter_value',
        detail = case when new.proxy ~ '@' then 'Columns pass through the write-ahead log, so they are no place for a password: the bridge''s environment (HTTPS_PROXY) is.'
                      else 'It begins with http://, https://, socks4://, socks4a://, socks5:// or socks5h://, and has no path.' end,
        hint = 'For example http://proxy.internal:3128 or socks5h://proxy.internal:1080; direct: none, whatever the bridge''s environment says.';
  end if;
  if new.tls_profile !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then
    raise exception 'webhook "%": tls_profile "%" is no name', new.name, new.tls_profile using errcode = 'invalid_parameter_value',
      detail = 'It is no path: the operator''s folder WALHOOK_TLS_DIRECTORY holds <name>.ca.pem, and <name>.cert.pem with <name>.key.pem.',
      hint = 'Small letters, digits, - and _: for example erp.';
  end if;
  if new.tls_min_version is null or new.tls_min_version not in ('1.2', '1.3') then
    raise exception 'webhook "%": tls_min_version is "%"', new.name, coalesce(new.tls_min_version, 'NULL') using errcode = 'invalid_parameter_value', hint = 'It is 1.2 or 1.3.';
  end if;
  select lower(btrim(e.name)) into wrong from unnest(string_to_array(new.webhook_docevent, ',')) with ordinality as e (name, n)
   where lower(btrim(e.name)) <> all (known) order by e.n limit 1;
  if wrong is not null then
    likely := case when wrong ~ '[[:space:]]' and regexp_split_to_array(wrong, '[[:space:];]+') <@ known
      then array_to_string(regexp_split_to_array(wrong, '[[:space:];]+'), ', ') else walhook.nearest_event(wrong) end;
    raise exception 'webhook "%": there is no doc event "%"', new.name, wrong using errcode = 'invalid_parameter_value',
      hint = coalesce('Did you mean ' || likely || '? ', '') || 'There are ' || array_to_string(known, ', ') || '; several are separated by commas.';
  end if;
  if not new.is_dynamic_url and new.request_url ~ '[{]{2}' and (tg_op = 'INSERT' or new.request_url <> old.request_url or old.is_dynamic_url) then
    raise exception 'webhook "%": request_url has {{…}}, which is only rendered with is_dynamic_url', new.name using errcode = 'invalid_parameter_value',
      hint = 'Set is_dynamic_url = true.';
  end if;
  return new;
end $$;
comment on function walhook.validate_words() is 'Trigger: says of common mistakes what was meant, before a constraint says less.';

create or replace trigger webhook_15_words before insert or update on walhook.webhook
  for each row execute function walhook.validate_words();

create or replace function walhook.warn_of_templates() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  found record;
begin
  if tg_table_name = 'webhook_header' then
    for found in select w.name, t.warning, t.remedy from walhook.webhook w, lateral walhook.template_warnings('header ' || new.key, new.value, w.doctype_oid, false) t where w.id = new.webhook_id loop
      raise warning 'webhook "%": %', found.name, found.warning using hint = found.remedy;
    end loop;
    return null;
  end if;
  if tg_op = 'UPDATE' and new.webhook_json is not distinct from old.webhook_json and new.request_url = old.request_url and new.doctype_oid = old.doctype_oid then
    return null;
  end if;
  for found in
    select t.warning, t.remedy from walhook.template_warnings('webhook_json', new.webhook_json, new.doctype_oid, new.webhook_json is not null) t
    union all
    select t.warning, t.remedy from walhook.template_warnings('request_url', case when new.is_dynamic_url then new.request_url end, new.doctype_oid, false) t
  loop
    raise warning 'webhook "%": %', new.name, found.warning using hint = found.remedy;
  end loop;
  return null;
end $$;
comment on function walhook.warn_of_templates() is 'Trigger: warns of what in a template is likely a mistake.';

create or replace trigger webhook_70_templates after insert or update on walhook.webhook
  for each row execute function walhook.warn_of_templates();
create or replace trigger webhook_header_70_templates after insert or update on walhook.webhook_header
  for each row execute function walhook.warn_of_templates();

create or replace function walhook.validate_header() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  bad text;
begin
  if new.key is null or new.key !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$' then
    raise exception 'webhook "%": "%" is no name of a header', new.webhook, coalesce(new.key, 'NULL') using errcode = 'invalid_parameter_value',
      hint = 'Letters, digits and -, without blanks and without a colon: for example X-Api-Key.';
  elsif new.value is null then
    raise exception 'webhook "%": header % has no value', new.webhook, new.key using errcode = 'not_null_violation',
      hint = 'Leave the row out, or delete it: then the header is not sent.';
  elsif new.value ~ '[\x01-\x08\x0a-\x1f\x7f]' then
    raise exception 'webhook "%": the value of header % holds a line break or another control character', new.webhook, new.key using errcode = 'invalid_parameter_value',
      hint = 'A header is one line; several headers are several rows.';
  end if;
  bad := substring(new.value from '[^\t\x20-\x7e\xa0-\xff]');
  if bad is not null then
    raise exception 'webhook "%": the value of header % holds "%", which no header can carry', new.webhook, new.key, bad using errcode = 'invalid_parameter_value',
      hint = 'Put it into the body; a template may send it here as ASCII: {{#json}}doc.status{{/json}}.';
  end if;
  return new;
end $$;
comment on function walhook.validate_header() is 'Trigger: says what is wrong with a header, before a constraint says less.';

create or replace trigger webhook_header_08_words before insert or update on walhook.webhook_header
  for each row execute function walhook.validate_header();

create or replace function walhook.condition_hint(condition text, doctype_oid oid, state text, message text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  named constant text := substring(regexp_replace(message, '^webhook ".*": condition: ', '') from '"([^"]+)"');
begin
  if condition ~* '^[[:space:]]*(where|when|if)\M' then
    return format('Leave out "%s": the condition is what would stand behind it.', substring(condition from '^[[:space:]]*([A-Za-z]+)'));
  elsif condition ~ ';[[:space:]]*$' then
    return 'Leave out the semicolon.';
  elsif state = '42702' and exists (select from pg_attribute a where a.attrelid = doctype_oid and a.attname = named and a.attnum > 0) then
    return format('Write doc.%1$I (the row after the change) or old.%1$I (the row before).', named);
  elsif state = '42P01' and lower(named) = 'new' then
    return 'The row after the change is doc: write doc.… instead of new.…';
  elsif state = '42883' and message ~ ' (==|!==|&&) ' then
    return 'In SQL, = compares, <> is its opposite, and the words are and, or, not.';
  elsif state = '42703' and named is not null and exists (
    select from regexp_matches(condition, '(?:=|<>|!=|like|,|[(])[[:space:]]*"?(' || regexp_replace(named, '[^[:alnum:]_]', '.', 'g') || ')"?', 'gi')) then
    return format('A text stands in single quotes: %L. Double quotes, or none, make it a column.', coalesce(
      substring(condition from '(?i)"?(' || regexp_replace(named, '[^[:alnum:]_]', '.', 'g') || ')"?'), named));
  end if;
  return null;
end $$;
comment on function walhook.condition_hint(text, oid, text, text) is 'What somebody meant whose condition does not compile; NULL: not known.';

create or replace function walhook.set_condition() returns trigger
  language plpgsql security invoker
as $$
declare
  state text;
  failure text;
  failure_detail text;
  failure_hint text;
begin
  -- No search_path of its own: the author's is the one that the condition means.
  new := walhook.with_condition(tg_op, old, new, pg_catalog.current_setting('search_path'));
  return new;
exception when others then
  get stacked diagnostics state = returned_sqlstate, failure = message_text, failure_detail = pg_exception_detail, failure_hint = pg_exception_hint;
  raise exception using errcode = state, message = failure, detail = failure_detail,
    hint = coalesce(walhook.condition_hint(new.condition, new.doctype_oid, state, failure), failure_hint);
end $$;

-- Rights --------------------------------------------------------------------------------------------------------------

revoke all on function walhook.nearest_event(text), walhook.template_warnings(text, text, oid, boolean), walhook.validate_words(),
  walhook.warn_of_templates(), walhook.validate_header(), walhook.condition_hint(text, oid, text, text), walhook.find_doctype(text),
  walhook.add_webhook(text, text, text, text, text, json, text, json, text, text, text, boolean, boolean, jsonb) from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant execute on function walhook.nearest_event(text), walhook.template_warnings(text, text, oid, boolean), walhook.validate_words(), '
      'walhook.warn_of_templates(), walhook.validate_header(), walhook.condition_hint(text, oid, text, text), walhook.find_doctype(text), '
      'walhook.add_webhook(text, text, text, text, text, json, text, json, text, text, text, boolean, boolean, jsonb) to walhook_admin'
  ]);
end $$;

insert into walhook.migration (version, name) values (152, 'add_webhook') on conflict do nothing;

commit;
