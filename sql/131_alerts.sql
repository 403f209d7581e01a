-- Walhook 131: alerts. Each change of how a webhook does is a row of walhook.alert, and a webhook may watch that table
-- like any other: so alerts are signed, ordered, retried and logged as everything else, with a condition or template of
-- their own where somebody wants one.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create table if not exists walhook.alert (
  id bigint generated always as identity constraint alert_pkey primary key,
  type text not null constraint alert_type_is_known
    check (type in ('webhook.failing', 'webhook.opened', 'webhook.disabled', 'webhook.enabled', 'webhook.recovered')),
  webhook_id integer not null,
  webhook text not null,
  state text not null,
  previous text not null,
  since timestamptz,
  consecutive_failures integer not null,
  last_error text,
  created_at timestamptz not null default now()
);
create index if not exists alert_created_at_idx on walhook.alert (created_at);
comment on table walhook.alert is
  'One row for each change of webhook_state.health, for 90 days. To be told of them: select walhook.add_alert_webhook(''https://…''). Webhooks on this table make no alerts themselves.';
comment on column walhook.alert.id is 'Number of the alert.';
comment on column walhook.alert.type is 'webhook.failing, webhook.opened, webhook.disabled (by itself), webhook.enabled (again, by somebody) or webhook.recovered.';
comment on column walhook.alert.webhook_id is 'Number of the webhook.';
comment on column walhook.alert.webhook is 'Its name.';
comment on column walhook.alert.state is 'Its health from now on, see webhook_state.health.';
comment on column walhook.alert.previous is 'Its health before.';
comment on column walhook.alert.since is 'Since when no attempt has succeeded; where one has again, since when none had.';
comment on column walhook.alert.consecutive_failures is 'Attempts that failed since then.';
comment on column walhook.alert.last_error is 'Why the last attempt failed, or why the webhook was disabled.';
comment on column walhook.alert.created_at is 'When that was.';

create or replace function walhook.raise_alert() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  -- A row that is new was ok until then.
  former walhook.webhook_state := case tg_op when 'UPDATE' then old else new end;
  previous constant text := case tg_op when 'UPDATE' then old.health else 'ok' end;
begin
  -- A webhook that carries alerts and fails would make more of them for ever.
  if new.health = previous or not exists (
    select from walhook.webhook w where w.id = new.webhook_id and w.doctype_oid <> 'walhook.alert'::regclass) then
    return null;
  end if;
  insert into walhook.alert (type, webhook_id, webhook, state, previous, since, consecutive_failures, last_error)
    values (
      case when new.health <> 'ok' then 'webhook.' || new.health when previous = 'disabled' then 'webhook.enabled' else 'webhook.recovered' end,
      new.webhook_id, new.name, new.health, previous, coalesce(new.first_failure_at, former.first_failure_at),
      case new.health when 'ok' then former.consecutive_failures else new.consecutive_failures end,
      case when new.health = 'disabled' then new.last_error else new.last_failure end);
  delete from walhook.alert a where a.created_at < now() - interval '90 days';
  return null;
end $$;
comment on function walhook.raise_alert() is
  'Trigger: writes a row of walhook.alert for each change of health. SECURITY DEFINER: nobody else may write there.';

create or replace trigger webhook_state_90_alert after insert or update of health on walhook.webhook_state
  for each row execute function walhook.raise_alert();

-- Who is told -----------------------------------------------------------------------------------------------------------

-- The same as before, but that walhook.alert may be watched.
create or replace function walhook.validate_webhook() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  known constant text[] := '{after_insert,on_update,on_change,on_trash,on_submit,on_cancel,on_update_after_submit,on_truncate}';
  submittable constant text[] := '{on_submit,on_cancel,on_update_after_submit}';
  events text[];
  event text;
  c pg_class%rowtype;
  found text;
  remedy text;
begin
  if new.timeout is null or new.timeout not between interval '1 ms' and interval '60 s' then
    raise exception 'webhook "%": timeout % is not between 1 ms and 60 s', new.name, coalesce(new.timeout::text, 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'The default is 5 s.';
  end if;
  new.timeout_ms := extract(epoch from new.timeout) * 1000;
  -- Enabling and disabling is always possible: a webhook whose author lost a right is held, see walhook.author_rights.
  if tg_op = 'UPDATE' and new.enabled <> old.enabled
    and (to_jsonb(new) - '{enabled,modified_at}'::text[]) = (to_jsonb(old) - '{enabled,modified_at}'::text[]) then
    return new;
  end if;
  if new.name is null or new.name !~ '^[^[:cntrl:]]+$' or new.name <> btrim(new.name) or char_length(new.name) > 200 then
    raise exception 'a webhook''s name must have 1 to 200 characters, without control characters and without blanks around it'
      using errcode = 'invalid_parameter_value', hint = 'It stands in every log row, for example new-order.';
  end if;
  if exists (select from walhook.webhook w where w.name = new.name and w.id <> new.id) and tg_op = 'UPDATE' then
    raise exception 'there is a webhook "%" already', new.name using errcode = 'unique_violation', hint = 'Choose another name.';
  end if;
  if new.webhook_doctype is null or new.webhook_docevent is null or new.request_url is null then
    raise exception 'webhook "%": % is missing', new.name,
      case when new.webhook_doctype is null then 'webhook_doctype' when new.webhook_docevent is null then 'webhook_docevent' else 'request_url' end
      using errcode = 'not_null_violation',
        hint = 'A webhook needs name, webhook_doctype, webhook_docevent and request_url.';
  end if;
  if not coalesce(new.request_method in ('POST', 'PUT', 'PATCH', 'DELETE'), false) then
    raise exception 'webhook "%": request_method "%" is not known', new.name, new.request_method
      using errcode = 'invalid_parameter_value', hint = 'There are POST, PUT, PATCH and DELETE.';
  end if;
  if not coalesce(new.request_structure in ('JSON', 'Form URL-Encoded'), false) then
    raise exception 'webhook "%": request_structure "%" is not known', new.name, new.request_structure
      using errcode = 'invalid_parameter_value', hint = 'There are ''JSON'' and ''Form URL-Encoded''.';
  end if;
  if tg_op = 'UPDATE' and new.webhook_doctype = old.webhook_doctype and not exists (select from pg_class p where p.oid = new.webhook_doctype) then
    select t.oid::regclass::text into found from pg_class t join pg_namespace n on n.oid = t.relnamespace
     where case when n.nspname = 'public' then t.relname::text else n.nspname || '.' || t.relname end = old.doctype and t.relkind in ('r', 'p');
    raise exception 'webhook "%": its table % does not exist any more', new.name, old.doctype using errcode = 'undefined_table',
      hint = case when found is null then 'Set webhook_doctype to another table, or delete the webhook.'
                  else format('A table of that name exists again: update walhook.webhook set webhook_doctype = %L where name = %L;', found, new.name) end;
  end if;
  select t.* into c from pg_class t where t.oid = new.webhook_doctype;
  if c.oid is null then
    raise exception 'webhook "%": there is no table %', new.name, new.webhook_doctype using errcode = 'undefined_table',
      hint = 'Name it as in a query: ''orders'', ''shop.orders'' or ''"Sales Order"''.';
  end if;
  new.doctype_oid := c.oid;
  new.doctype := case when c.relnamespace = 'public'::regnamespace then c.relname::text
                      else (select n.nspname from pg_namespace n where n.oid = c.relnamespace) || '.' || c.relname end;

  if c.relispartition then
    raise exception 'webhook "%": % is a partition', new.name, new.webhook_doctype using errcode = 'wrong_object_type',
      hint = format('Watch the partitioned table instead: %L.', pg_partition_root(c.oid)::text);
  elsif c.relkind not in ('r', 'p') then
    raise exception 'webhook "%": % is no table', new.name, new.webhook_doctype using errcode = 'wrong_object_type',
      detail = format('It is a %s, whose rows are not in the write-ahead log.', case c.relkind when 'v' then 'view'
        when 'm' then 'materialized view' when 'f' then 'foreign table' when 'i' then 'index' when 'S' then 'sequence' else 'relation' end),
      hint = 'Watch the tables behind it.';
  elsif c.relnamespace in ('walhook'::regnamespace, 'walhook_condition'::regnamespace) and c.oid <> 'walhook.alert'::regclass then
    raise exception 'webhook "%": % is one of Walhook''s own tables', new.name, new.webhook_doctype using errcode = 'wrong_object_type',
      hint = 'A webhook on them would feed itself. Query walhook.webhook_request_log instead; walhook.alert may be watched.';
  elsif c.relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) or c.relisshared then
    raise exception 'webhook "%": % is a system table', new.name, new.webhook_doctype using errcode = 'wrong_object_type',
      hint = 'Changes of system tables are not in the stream.';
  elsif c.relpersistence <> 'p' then
    raise exception 'webhook "%": % is %', new.name, new.webhook_doctype,
      case c.relpersistence when 't' then 'a temporary table' else 'an unlogged table' end using errcode = 'wrong_object_type',
      hint = 'Its rows are not in the write-ahead log: ALTER TABLE … SET LOGGED.';
  end if;

  events := array(select lower(btrim(e.name)) from unnest(string_to_array(new.webhook_docevent, ',')) with ordinality as e (name, n) order by e.n);
  foreach event in array events loop
    if not event = any (known) then
      raise exception 'webhook "%": there is no doc event "%"', new.name, event using errcode = 'invalid_parameter_value',
        hint = 'There are ' || array_to_string(known, ', ') || '; several are separated by commas.';
    elsif event = any (submittable) and not exists (
      select from pg_attribute a where a.attrelid = c.oid and a.attname = 'docstatus' and not a.attisdropped
        and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) then
      raise exception 'webhook "%": % cannot happen to %', new.name, event, new.webhook_doctype using errcode = 'invalid_parameter_value',
        detail = 'It needs a column docstatus of an integer type (0 draft, 1 submitted, 2 cancelled).',
        hint = 'Use on_update or on_change, with a condition on the column that tells it.';
    end if;
  end loop;
  if cardinality(events) = 0 then
    raise exception 'webhook "%": webhook_docevent is empty', new.name using errcode = 'invalid_parameter_value',
      hint = 'There are ' || array_to_string(known, ', ') || '; several are separated by commas.';
  end if;
  new.webhook_docevent := array_to_string(array(
    select e.name from unnest(events) with ordinality as e (name, n) group by e.name order by min(e.n)), ', ');

  select p.problem, p.remedy into found, remedy from walhook.author_problem(new.author, c.oid) p;
  if found is not null then
    raise exception 'webhook "%": %', new.name, found using errcode = 'insufficient_privilege',
      detail = 'A webhook sends what its author could read, and nothing else.', hint = remedy;
  end if;

  if not new.is_dynamic_url and new.request_url !~* '^https?://[^/?#[:space:]]+[^[:space:]]*$' then
    raise exception 'webhook "%": request_url "%" is not an absolute http or https URL', new.name, new.request_url
      using errcode = 'invalid_parameter_value', hint = 'For example https://example.com/hooks/orders. With is_dynamic_url it may be a template.';
  end if;
  if new.is_dynamic_url then
    found := walhook.template_problem(new.request_url);
    if found is not null then
      raise exception 'webhook "%": request_url: %', new.name, found using errcode = 'syntax_error', hint = 'It is a Mustache template, for example https://example.com/{{doc.id}}.';
    end if;
  end if;
  if new.is_dynamic_url and new.request_url ~ '^[^{]' and new.request_url !~* '^https?://' then
    raise exception 'webhook "%": request_url "%" is not an absolute http or https URL', new.name, new.request_url
      using errcode = 'invalid_parameter_value', hint = 'For example https://example.com/{{doc.id}}, or {{doc.callback_url}} alone.';
  end if;
  found := walhook.template_problem(new.webhook_json);
  if found is not null then
    raise exception 'webhook "%": webhook_json: %', new.name, found using errcode = 'syntax_error', hint = 'It is a Mustache template, for example {"id": {{#json}}doc.id{{/json}}}.';
  end if;
  if new.enable_security and new.webhook_secret is null then
    raise exception 'webhook "%": enable_security needs webhook_secret', new.name using errcode = 'invalid_parameter_value',
      hint = 'Set both: webhook_secret = ''whsec_'' || encode(…, ''base64''), or any other text.';
  end if;
  if tg_op = 'UPDATE' and new.doctype_oid <> old.doctype_oid then
    select d.fieldname into found from walhook.webhook_data d
     where d.webhook_id = new.id and not exists (
       select from pg_attribute a where a.attrelid = c.oid and a.attname = d.fieldname and a.attnum > 0 and not a.attisdropped)
     order by d.id limit 1;
    if found is not null then
      raise exception 'webhook "%": % has no column "%", which its webhook_data names', new.name, new.webhook_doctype, found
        using errcode = 'undefined_column', hint = 'Change the rows of walhook.webhook_data first.';
    end if;
  end if;
  if tg_op = 'INSERT' and current_setting('wal_level') <> 'logical' then
    raise warning 'wal_level is %: nothing can be delivered', current_setting('wal_level')
      using hint = 'alter system set wal_level = logical; then restart the server.';
  end if;
  if (tg_op = 'INSERT' or new.doctype_oid <> old.doctype_oid)
    and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary) then
    raise notice '% has no primary key: its documents have no name, and the order of their deliveries is not kept', new.webhook_doctype;
  end if;
  return new;
end $$;
comment on function walhook.validate_webhook() is 'Trigger: refuses what could never work, with what to do instead; fills doctype_oid, doctype, timeout_ms.';

create or replace function walhook.add_alert_webhook(request_url text, webhook_secret text default null, name text default 'walhook-alerts') returns text
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  chosen constant text := coalesce(webhook_secret, walhook.generate_secret());
begin
  insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, enable_security, webhook_secret, webhook_json)
    values (add_alert_webhook.name, 'walhook.alert', 'after_insert', add_alert_webhook.request_url, true, chosen,
      '{"type":{{#json}}doc.type{{/json}},"timestamp":{{#json}}doc.created_at{{/json}},"data":{'
      '"webhook":{{#json}}doc.webhook{{/json}},"webhook_id":{{#json}}doc.webhook_id{{/json}},'
      '"state":{{#json}}doc.state{{/json}},"previous":{{#json}}doc.previous{{/json}},"since":{{#json}}doc.since{{/json}},'
      '"consecutive_failures":{{#json}}doc.consecutive_failures{{/json}},"last_error":{{#json}}doc.last_error{{/json}}}}');
  return chosen;
end $$;
comment on function walhook.add_alert_webhook(text, text, text) is
  'Adds a webhook that sends each alert to request_url, signed with webhook_secret, or a new secret where none is given; returns the secret. The row is one like any other: change its template for other receivers, or its condition to get fewer.';

-- Rights --------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.raise_alert(), walhook.add_alert_webhook(text, text, text) from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.alert to walhook_bridge',
    'grant select on walhook.alert to walhook_admin',
    'grant select on walhook.alert to walhook_analyst',
    'grant select on walhook.alert to walhook_monitor',
    'grant execute on function walhook.add_alert_webhook(text, text, text) to walhook_admin'
  ]);
end $$;

insert into walhook.migration (version, name) values (131, 'alerts') on conflict do nothing;

commit;
