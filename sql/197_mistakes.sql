-- Walhook 197: add_webhook refuses what it would have passed by in silence; a password in a URL is said.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.find_doctype(doctype text) returns regclass
  language plpgsql stable security invoker
as $$
declare
  found pg_catalog.regclass;
  near text;
begin
  if coalesce(pg_catalog.btrim(doctype, '" '), '') operator(pg_catalog.=) '' then
    raise exception 'no table is named' using errcode = 'invalid_parameter_value', hint = 'Name it as in a query: ''orders'', ''shop.orders'' or ''"Sales Order"''. walhook.doctype has those that could be watched.';
  end if;
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
  argument text;
  row_ pg_catalog.jsonb;
  columns text;
begin
  if coalesce(pg_catalog.btrim(events), '') operator(pg_catalog.=) '' then
    raise exception 'no events are given' using errcode = 'invalid_parameter_value',
      hint = 'There are after_insert, on_update, on_change, on_trash, on_submit, on_cancel, on_update_after_submit, on_truncate; several are separated by commas.';
  elsif coalesce(pg_catalog.jsonb_typeof(options), 'object') operator(pg_catalog.<>) 'object' then
    raise exception 'options is no object' using errcode = 'invalid_parameter_value', hint = 'Columns of walhook.webhook and their values: {"rate_limit": 20, "batch_size": 100}.';
  elsif template is not null and data is not null then
    raise exception 'give data or a template, not both' using errcode = 'invalid_parameter_value', hint = 'data: columns for the body; template: the body as text with {{doc.…}}.';
  elsif pg_catalog.btrim(template, E' \t\r\n\f\v') operator(pg_catalog.=) '' then
    raise exception 'the template is empty' using errcode = 'invalid_parameter_value', hint = 'Leave it out for the usual envelope, or write for example {"id": {{#json}}doc.id{{/json}}}.';
  elsif exists (select from walhook.webhook w where w.name operator(pg_catalog.=) add_webhook.name) then
    raise exception 'there is a webhook "%" already', name using errcode = 'unique_violation',
      hint = pg_catalog.format('Choose another name, or none, or change that one: update walhook.webhook set … where name = %L;', name);
  end if;
  select a.key, a.argument into unknown, argument
    from (values ('name', 'name'), ('webhook_doctype', 'doctype'), ('webhook_docevent', 'events'), ('request_url', 'url'), ('condition', 'condition'),
      ('webhook_json', 'template'), ('webhook_secret', 'secret'), ('request_method', 'method'), ('request_structure', 'structure'),
      ('is_dynamic_url', 'is_dynamic_url'), ('enabled', 'enabled')) a (key, argument)
   where pg_catalog.jsonb_exists(coalesce(options, '{}'), a.key) limit 1;
  if argument is not null then
    raise exception 'options: % has an argument of its own', unknown using errcode = 'invalid_parameter_value', hint = pg_catalog.format('add_webhook(…, %s => …)', argument);
  end if;
  select k.key into unknown from pg_catalog.jsonb_object_keys(coalesce(options, '{}')) as k (key)
   where k.key operator(pg_catalog.=) any ('{id,author,doctype,doctype_oid,timeout_ms,retry_schedule_ms,batch_window_ms,disable_after_ms,condition_function,condition_columns,condition_uses_old,condition_is_immutable,condition_tells_null,handshake_origin,revision,created_at,modified_at}'::text[]) limit 1;
  if unknown is not null then
    raise exception 'options: % is filled by Walhook', unknown using errcode = 'invalid_parameter_value',
      hint = 'Leave it out. Columns with a choice are, for example, rate_limit, batch_size, timeout and retry_schedule.';
  end if;
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

create or replace function walhook.add_alert_webhook(request_url text, webhook_secret text default null, name text default 'walhook-alerts') returns text
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  chosen constant text := coalesce(webhook_secret, walhook.generate_secret());
begin
  if exists (select from walhook.webhook w where w.name = add_alert_webhook.name) then
    raise exception 'there is a webhook "%" already', name using errcode = 'unique_violation',
      hint = format('Choose another name: walhook.add_alert_webhook(…, name => …), or change that one: update walhook.webhook set … where name = %L;', name);
  end if;
  insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, enable_security, webhook_secret, webhook_json)
    values (add_alert_webhook.name, 'walhook.alert', 'after_insert', add_alert_webhook.request_url, true, chosen,
      '{"type":{{#json}}doc.type{{/json}},"timestamp":{{#json}}doc.created_at{{/json}},"data":{'
      '"webhook":{{#json}}doc.webhook{{/json}},"webhook_id":{{#json}}doc.webhook_id{{/json}},'
      '"state":{{#json}}doc.state{{/json}},"previous":{{#json}}doc.previous{{/json}},"since":{{#json}}doc.since{{/json}},'
      '"consecutive_failures":{{#json}}doc.consecutive_failures{{/json}},"last_error":{{#json}}doc.last_error{{/json}}}}');
  return chosen;
end $$;

create or replace function walhook.warn_of_password() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  if tg_op = 'INSERT' or new.request_url <> old.request_url then
    raise warning 'webhook "%": request_url holds a password', new.name
      using hint = 'Whoever may read walhook.webhook reads it, walhook export prints it, and it passes through the write-ahead log. A signature needs none: enable_security and webhook_secret.';
  end if;
  return null;
end $$;
comment on function walhook.warn_of_password() is 'Trigger: warns of user:password@ in a URL.';

create or replace trigger webhook_72_password after insert or update on walhook.webhook
  for each row when (new.request_url ~* '^https?://[^/?#@]*:[^/?#@{}]+@') execute function walhook.warn_of_password();

revoke all on function walhook.warn_of_password() from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant execute on function walhook.warn_of_password() to walhook_admin']);
end $$;

insert into walhook.migration (version, name) values (197, 'mistakes') on conflict do nothing;

commit;
