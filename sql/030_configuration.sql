-- Walhook 030: what happens when somebody writes a webhook. Triggers named 10, 20, 30 fire in that order before
-- the row is stored; 40 is the condition's (file 050); publishing comes after (file 055).
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- 10: the author ------------------------------------------------------------------------------------------------

create or replace function walhook.set_author() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.modified_at := now();
  if tg_op = 'INSERT' then
    new.created_at := now();
    new.author := current_user::regrole;
    return new;
  end if;
  if new.id <> old.id then
    raise exception 'webhook "%": its number never changes', old.name using errcode = 'invalid_parameter_value';
  end if;
  new.created_at := old.created_at;
  -- Whatever the statement says of it: the author is who changed what is sent or where. A change of a header or
  -- data row says so by modified_at alone, see walhook.touch_parent.
  if (to_jsonb(new) - '{enabled,modified_at,created_at,author,revision}'::text[])
     is distinct from (to_jsonb(old) - '{enabled,modified_at,created_at,author,revision}'::text[])
     or new.author is distinct from old.author
     or new.revision is distinct from old.revision then
    new.author := current_user::regrole;
  end if;
  return new;
end $$;
comment on function walhook.set_author() is
  'Trigger: the author of a webhook is the role that last changed anything but enabled. Runs as the caller, whose name it takes.';

create or replace trigger webhook_10_author before insert or update on walhook.webhook
  for each row execute function walhook.set_author();

-- 20: validation --------------------------------------------------------------------------------------------------

create or replace function walhook.template_problem(template text) returns text
  language plpgsql immutable strict set search_path = pg_catalog, pg_temp
as $$
declare
  rest text := template;
  opened text[] := '{}';
  at integer;
  tag text;
  name text;
begin
  loop
    at := position('{{' in rest);
    exit when at = 0;
    rest := substr(rest, at + 2);
    if left(rest, 1) = '{' then
      at := position('}}}' in rest);
      if at = 0 then return format('{{{%s … is not closed by }}}', left(rest, 20)); end if;
      rest := substr(rest, at + 3);
      continue;
    end if;
    at := position('}}' in rest);
    if at = 0 then return format('{{%s … is not closed by }}', left(rest, 20)); end if;
    tag := btrim(left(rest, at - 1), E' \t\r\n');
    rest := substr(rest, at + 2);
    name := btrim(substr(tag, 2), E' \t\r\n');
    case left(tag, 1)
      when '#', '^' then opened := opened || name;
      when '/' then
        if coalesce(array_length(opened, 1), 0) = 0 then return format('{{/%s}} closes a section that was never opened', name); end if;
        if opened[array_length(opened, 1)] <> name then
          return format('{{/%s}} closes the section {{#%s}}', name, opened[array_length(opened, 1)]);
        end if;
        opened := opened[1:array_length(opened, 1) - 1];
      when '>' then return format('{{>%s}}: partials do not exist here', name);
      when '=' then return 'a change of delimiters ({{=…=}}) is not supported';
      when '' then return '{{}} names nothing';
      else null;
    end case;
  end loop;
  if coalesce(array_length(opened, 1), 0) > 0 then
    return format('the section {{#%s}} is not closed', opened[array_length(opened, 1)]);
  end if;
  return null;
end $$;
comment on function walhook.template_problem(text) is 'What is wrong with the syntax of a Mustache template; NULL where nothing is.';

create or replace function walhook.author_problem(author oid, relation oid, out problem text, out remedy text)
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  r pg_roles%rowtype;
  c pg_class%rowtype;
begin
  select a.* into r from pg_roles a where a.oid = author;
  select t.* into c from pg_class t where t.oid = relation;
  if r.oid is null then
    problem := 'its author does not exist any more';
    remedy := 'Another role can take it over by changing the webhook.';
  elsif c.oid is null then
    problem := 'its table does not exist any more';
  elsif not has_schema_privilege(author, c.relnamespace, 'USAGE') then
    problem := format('role %s may not use schema %s', r.rolname, c.relnamespace::regnamespace);
    remedy := format('grant usage on schema %s to %I;', c.relnamespace::regnamespace, r.rolname);
  elsif not has_table_privilege(author, relation, 'SELECT') and exists (
    select from pg_attribute a where a.attrelid = relation and a.attnum > 0 and not a.attisdropped
      and not has_column_privilege(author, relation, a.attnum, 'SELECT')) then
    problem := format('role %s may not read every column of %s', r.rolname, relation::regclass);
    remedy := format('grant select on %s to %I;', relation::regclass, r.rolname);
  elsif c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
    and (c.relforcerowsecurity or not pg_has_role(author, c.relowner, 'USAGE')) then
    problem := format('row-level security of %s hides rows from role %s', relation::regclass, r.rolname);
    remedy := 'A webhook sends every row: its author must be the table''s owner or have BYPASSRLS.';
  end if;
end $$;
comment on function walhook.author_problem(oid, oid) is
  'Why a role may not be the author of a webhook on a table, and what would change that; NULL where it may.';

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
  elsif c.relnamespace in ('walhook'::regnamespace, 'walhook_condition'::regnamespace) then
    raise exception 'webhook "%": % is one of Walhook''s own tables', new.name, new.webhook_doctype using errcode = 'wrong_object_type',
      hint = 'A webhook on them would feed itself. Query walhook.webhook_request_log instead.';
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

create or replace trigger webhook_20_validate before insert or update on walhook.webhook
  for each row execute function walhook.validate_webhook();

-- 30: the secret ----------------------------------------------------------------------------------------------------
--
-- The value goes from the row that is written to walhook.webhook_secret, by way of a setting of the transaction: before
-- the row is stored nobody knows whether INSERT … ON CONFLICT will store it or update another one instead. An UPDATE that
-- takes excluded.webhook_secret then finds a mark, and the value under the webhook's name.

create or replace function walhook.forget_secrets() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('walhook.secrets', '{}', true);
  return null;
end $$;
comment on function walhook.forget_secrets() is 'Trigger: no statement sees the secrets that another one has written.';

create or replace trigger webhook_05_forget_secrets before insert or update on walhook.webhook
  for each statement execute function walhook.forget_secrets();
create or replace trigger webhook_90_forget_secrets after insert or update on walhook.webhook
  for each statement execute function walhook.forget_secrets();

create or replace function walhook.move_secret() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  mark constant text := '*** of the row proposed';
  secrets constant jsonb := coalesce(nullif(current_setting('walhook.secrets', true), ''), '{}')::jsonb;
  secret text := new.webhook_secret;
begin
  if secret is null then
    delete from walhook.webhook_secret s where s.webhook_id = new.id;
    return new;
  elsif tg_op = 'UPDATE' and secret = mark and secrets ? new.name then
    secret := secrets ->> new.name;
  elsif secret = '***' or secret = mark then
    if tg_op = 'INSERT' or not exists (select from walhook.webhook_secret s where s.webhook_id = new.id) then
      raise exception 'webhook "%": *** stands for a stored secret, and there is none', new.name using errcode = 'invalid_parameter_value',
        hint = 'Secrets cannot be read back: write the secret itself.';
    end if;
    new.webhook_secret := '***';
    return new;
  end if;

  if secret ~ '^whsec_' then
    if secret !~ '^whsec_([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?$' or secret = 'whsec_' then
      raise exception 'webhook "%": after whsec_ the secret must be base64', new.name using errcode = 'invalid_parameter_value',
        hint = 'Any text without that prefix is taken as it is.';
    end if;
    if octet_length(decode(rpad(rtrim(substr(secret, 7), '='), ((char_length(rtrim(substr(secret, 7), '=')) + 3) / 4) * 4, '='), 'base64')) not between 24 and 64 then
      raise notice 'webhook "%": a whsec_ secret should have 24 to 64 random bytes', new.name;
    end if;
  elsif secret = '' then
    raise exception 'webhook "%": webhook_secret is empty', new.name using errcode = 'invalid_parameter_value', hint = 'NULL removes a secret.';
  else
    raise notice 'webhook "%": the secret is used as it stands; receivers that use a Standard Webhooks library expect whsec_ and base64 of 24 to 64 random bytes', new.name;
  end if;

  if tg_op = 'INSERT' then
    perform set_config('walhook.secrets', (secrets || jsonb_build_object(new.name, secret))::text, true);
    -- Only with ON CONFLICT does the statement go on from here.
    new.webhook_secret := case when exists (select from walhook.webhook w where w.name = new.name) then mark else '***' end;
  else
    insert into walhook.webhook_secret (webhook_id, secret) values (new.id, secret)
      on conflict (webhook_id) do update set secret = excluded.secret;
    new.webhook_secret := '***';
  end if;
  return new;
end $$;
comment on function walhook.move_secret() is
  'Trigger: takes the secret out of the row and leaves ***. SECURITY DEFINER, since nobody else may write where it goes.';

create or replace trigger webhook_30_secret before insert or update on walhook.webhook
  for each row execute function walhook.move_secret();

create or replace function walhook.keep_secret() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  insert into walhook.webhook_secret (webhook_id, secret)
    values (new.id, current_setting('walhook.secrets')::jsonb ->> new.name);
  return null;
end $$;
comment on function walhook.keep_secret() is 'Trigger: stores the secret of a new webhook.';

create or replace trigger webhook_35_keep_secret after insert on walhook.webhook
  for each row when (new.webhook_secret is not null) execute function walhook.keep_secret();

-- Header and data rows ------------------------------------------------------------------------------------------------

create or replace function walhook.check_child() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  w record;
  problem text;
begin
  select p.id, p.name, p.doctype_oid, p.webhook_doctype into w from walhook.webhook p where p.name = new.webhook;
  if w.id is null then
    raise exception 'there is no webhook "%"', new.webhook using errcode = 'foreign_key_violation', hint = 'Insert it first.';
  end if;
  new.webhook_id := w.id;
  if tg_table_name = 'webhook_data' then
    new.key := coalesce(new.key, new.fieldname);
    if not exists (select from pg_attribute a where a.attrelid = w.doctype_oid and a.attname = new.fieldname and a.attnum > 0 and not a.attisdropped) then
      raise exception 'webhook "%": % has no column "%"', w.name, w.webhook_doctype, new.fieldname using errcode = 'undefined_column',
        hint = 'It has ' || (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = w.doctype_oid and a.attnum > 0 and not a.attisdropped) || '.';
    end if;
  else
    if lower(new.key) in ('webhook-id', 'webhook-timestamp', 'webhook-signature', 'x-frappe-webhook-signature', 'content-length',
                          'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'expect', 'te', 'trailer') then
      raise exception 'webhook "%": header % cannot be set', w.name, new.key using errcode = 'invalid_parameter_value',
        hint = 'It says who signed what, or how the connection works, and is Walhook''s own.';
    end if;
    problem := walhook.template_problem(new.value);
    if problem is not null then
      raise exception 'webhook "%": header %: %', w.name, new.key, problem using errcode = 'syntax_error';
    end if;
  end if;
  return new;
end $$;
comment on function walhook.check_child() is 'Trigger: fills webhook_id and refuses unknown columns and broken templates.';

create or replace trigger webhook_header_10_check before insert or update on walhook.webhook_header
  for each row execute function walhook.check_child();
create or replace trigger webhook_data_10_check before insert or update on walhook.webhook_data
  for each row execute function walhook.check_child();

create or replace function walhook.touch_parent() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  ids integer[] := '{}';
begin
  -- By number, never by name: renaming or deleting a webhook cascades here, as the table's owner, who must not become
  -- the author of anything by it. A rename leaves the number as it is, and after a deletion nobody has it.
  if tg_op = 'UPDATE' and new.webhook_id = old.webhook_id and (to_jsonb(new) - 'webhook') = (to_jsonb(old) - 'webhook') then
    return null;
  end if;
  -- The owner inside another trigger: a cascade, whatever it found.
  if pg_trigger_depth() > 1 and current_user::regrole = (select c.relowner from pg_class c where c.oid = tg_relid) then
    return null;
  end if;
  if tg_op <> 'INSERT' then ids := ids || old.webhook_id; end if;
  if tg_op <> 'DELETE' then ids := ids || new.webhook_id; end if;
  update walhook.webhook w set author = current_user::regrole, revision = w.revision + 1 where w.id = any (ids);
  return null;
end $$;
comment on function walhook.touch_parent() is 'Trigger: who changes a header or data row becomes the author of its webhook, and the webhook is checked again.';

create or replace trigger webhook_header_50_touch after insert or update or delete on walhook.webhook_header
  for each row execute function walhook.touch_parent();
create or replace trigger webhook_data_50_touch after insert or update or delete on walhook.webhook_data
  for each row execute function walhook.touch_parent();

-- TRUNCATE -----------------------------------------------------------------------------------------------------------

create or replace function walhook.refuse_truncate() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception 'walhook.% cannot be truncated', tg_table_name using errcode = 'feature_not_supported',
    detail = 'The bridge learns of configuration from row changes, and TRUNCATE has none.',
    hint = format('delete from walhook.%I;', tg_table_name);
end $$;
comment on function walhook.refuse_truncate() is 'Trigger: configuration tables take DELETE, not TRUNCATE.';

create or replace trigger webhook_00_truncate before truncate on walhook.webhook
  for each statement execute function walhook.refuse_truncate();
create or replace trigger webhook_header_00_truncate before truncate on walhook.webhook_header
  for each statement execute function walhook.refuse_truncate();
create or replace trigger webhook_data_00_truncate before truncate on walhook.webhook_data
  for each statement execute function walhook.refuse_truncate();
create or replace trigger webhook_secret_00_truncate before truncate on walhook.webhook_secret
  for each statement execute function walhook.refuse_truncate();

insert into walhook.migration (version, name) values (30, 'configuration') on conflict do nothing;

commit;
