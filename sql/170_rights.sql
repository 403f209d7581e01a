-- Walhook 170: each role has what it needs and no more. docs/rights.md lists the outcome; a test compares it with the catalogs.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- A role's name is a name: read as an identifier, "Alice" would be alice, another role, and "al@corp" none at all.

create or replace function walhook.set_author() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.modified_at := now();
  if tg_op = 'INSERT' then
    new.created_at := now();
    new.author := quote_ident(current_user)::regrole;
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
    new.author := quote_ident(current_user)::regrole;
  end if;
  return new;
end $$;

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
  if pg_trigger_depth() > 1 and quote_ident(current_user)::regrole = (select c.relowner from pg_class c where c.oid = tg_relid) then
    return null;
  end if;
  if tg_op <> 'INSERT' then ids := ids || old.webhook_id; end if;
  if tg_op <> 'DELETE' then ids := ids || new.webhook_id; end if;
  update walhook.webhook w set author = quote_ident(current_user)::regrole, revision = w.revision + 1 where w.id = any (ids);
  return null;
end $$;

create or replace function walhook.with_condition(operation text, before walhook.webhook, after walhook.webhook, path text) returns walhook.webhook
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  caller constant name := (select p.proowner::regrole::text from pg_proc p where p.oid = 'walhook.ask(text,text[],text[],text[])'::regprocedure);
  every constant text[] := array(select a.attname::text from pg_attribute a
    where a.attrelid = after.doctype_oid and a.attnum > 0 and not a.attisdropped order by a.attnum);
  names text[];
  compiled record;
  source record;
  wide record;
  failure text;
  failure_detail text;
  failure_hint text;
begin
  after.condition := case when btrim(after.condition, E' \t\r\n\f\v') <> '' then after.condition end;
  if operation = 'UPDATE' then
    -- Whatever the statement says of them: these columns are ours.
    after.revision := before.revision;
    after.condition_function := before.condition_function;
    after.condition_columns := before.condition_columns;
    after.condition_uses_old := before.condition_uses_old;
    after.condition_is_immutable := before.condition_is_immutable;
    if not exists (select from pg_class c where c.oid = after.doctype_oid)
      or (after.condition is not distinct from before.condition and after.doctype_oid = before.doctype_oid and after.author = before.author
          and (after.condition is null or after.author <> quote_ident(current_user)::regrole or not walhook.condition_is_stale(before.condition_function))) then
      return after;
    end if;
  end if;
  after.revision := walhook.next_condition_revision(after.id, case when operation = 'UPDATE' then before.revision else 0 end);
  after.condition_function := null;
  after.condition_columns := null;
  after.condition_uses_old := null;
  after.condition_is_immutable := null;
  if after.condition is null then return after; end if;

  names := walhook.condition_names(after.condition, after.doctype_oid);
  begin
    begin
      select c.* into compiled from walhook.compile_condition(after.condition, after.doctype_oid, names, path) c;
    exception when others then
      if names = every then raise; end if;
      names := every;
      select c.* into compiled from walhook.compile_condition(after.condition, after.doctype_oid, names, path) c;
    end;
  exception when others then
    get stacked diagnostics failure = message_text, failure_detail = pg_exception_detail, failure_hint = pg_exception_hint;
    if sqlstate = '42804' then
      -- "argument of WHERE must be type boolean, not type integer": nobody wrote a WHERE.
      failure := regexp_replace(failure, '^argument of WHERE', 'it');
    end if;
    if sqlstate = '42501' and not has_schema_privilege('walhook_condition', 'CREATE') then
      failure_hint := format('grant walhook_admin to %I; (or, without that role: grant usage, create on schema walhook_condition to %1$I;)', current_user);
    elsif failure_hint = '' then
      failure_hint := 'It is a boolean SQL expression over doc, old and event, for example: doc.status = ''Paid'' and old.status is distinct from doc.status. Columns: '
        || array_to_string(every, ', ') || '.';
    end if;
    raise exception 'webhook "%": condition: %', after.name, failure using errcode = sqlstate,
      detail = concat_ws(' ', nullif(failure_detail, ''), 'The condition is: ' || after.condition), hint = failure_hint;
  end;

  select s.* into source from walhook.condition_source(after.doctype_oid, names) s;
  after.condition_function := format('c%s_%s', after.id, after.revision);
  after.condition_columns := source.sent_columns;
  after.condition_uses_old := compiled.uses_old;
  after.condition_is_immutable := compiled.is_immutable;
  begin
    perform walhook.create_as(path, format(
      'create function walhook_condition.%I(pg_catalog.text[], pg_catalog.text[], pg_catalog.text[]) returns pg_catalog.bool[]
         language plpgsql stable security definer set search_path from current as %L',
      after.condition_function,
      E'#variable_conflict use_column\nbegin return (' ||
      walhook.condition_query(after.condition, source.row_source, compiled.uses_old, '$1', '$2', '$3') || E'); end'));
  exception when duplicate_function then
    raise exception 'webhook "%": somebody has made a function walhook_condition.%(…) already', after.name, after.condition_function
      using errcode = 'duplicate_function', hint = 'Names of this form are Walhook''s own. Find out who made it, then drop it.';
  end;
  execute format('revoke all on function walhook_condition.%I(text[], text[], text[]) from public', after.condition_function);
  execute format('grant execute on function walhook_condition.%I(text[], text[], text[]) to %s', after.condition_function, caller);
  -- The description is read again by walhook.condition_is_stale.
  execute format('comment on function walhook_condition.%I(text[], text[], text[]) is %L', after.condition_function, source.signature);

  if not compiled.is_immutable then
    raise notice 'webhook "%": the condition reads more than doc, old and event (a table, the clock, a setting, or a function that is not IMMUTABLE)', after.name
      using hint = 'It sees the database as it is when the bridge asks, and after a crash it may be asked again about a delivery in flight, with another answer.';
  end if;
  select t.* into wide from walhook.toasted_columns(after.doctype_oid, source.sent_columns) t;
  if wide.columns is not null and not compiled.uses_old and after.webhook_docevent ~ 'on_(update|submit|cancel)'
    -- Those that need FULL anyway, see walhook.needs.
    and after.webhook_docevent !~ 'on_(change|trash|submit|cancel|update_after_submit)' and not 'docstatus' = any (every)
    and (select c.relreplident from pg_class c where c.oid = after.doctype_oid) <> 'f' then
    if wide.has_toasted then
      raise warning 'webhook "%": an UPDATE that leaves a large value of % as it is does not carry it, and then nobody can tell whether the condition holds', after.name, wide.columns
        using hint = format('Such a delivery is logged as undecidable. ALTER TABLE %s REPLICA IDENTITY FULL makes every UPDATE carry all values.', after.webhook_doctype);
    else
      raise notice 'webhook "%": should values of % grow beyond about 2 kB, an UPDATE that leaves one as it is does not carry it, and the delivery is undecidable', after.name, wide.columns
        using hint = format('ALTER TABLE %s REPLICA IDENTITY FULL makes every UPDATE carry all values.', after.webhook_doctype);
    end if;
  end if;
  return after;
end $$;

create or replace function walhook.set_requester() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.requested_by := quote_ident(current_user)::regrole;
  new.requested_at := now();
  return new;
end $$;

-- Dead letters: the words of an error may quote a row.
create or replace view walhook.dead_letter with (security_barrier) as
  select q.webhook, q.doctype, q.docname, q.docevent, q.delivery_id, q.attempts,
         case when pg_catalog.has_table_privilege('walhook.webhook_queue', 'SELECT')
                or exists (select from walhook.webhook w where w.id = q.webhook_id
                             and pg_catalog.has_table_privilege(w.doctype_oid, 'SELECT') and not pg_catalog.row_security_active(w.doctype_oid))
              then q.last_error end as last_error,
         q.commit_time, q.queued_at, q.holds_lane
  from walhook.webhook_queue q where q.is_dead;
comment on column walhook.dead_letter.last_error is 'Why the last attempt failed. NULL for who may read neither the queue nor the table: it may quote the row.';

-- A copy by pg_dump and pg_restore: tables are known by their numbers, which are others there. Whoever restores may do this.
create or replace function walhook.relink() returns integer
  language plpgsql volatile security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  relinked integer;
  condition record;
begin
  lock table walhook.webhook in share row exclusive mode;
  -- The description begins with the number of the table, see walhook.condition_is_stale. Its author stays its owner.
  for condition in
    select p.oid::regprocedure as signature, regexp_replace(obj_description(p.oid, 'pg_proc'), '^[0-9]+', w.webhook_doctype::oid::text) as description
      from walhook.webhook w
      join pg_proc p on p.pronamespace = 'walhook_condition'::regnamespace and p.proname = w.condition_function
     where w.doctype_oid <> w.webhook_doctype::oid
  loop
    execute format('comment on function %s is %L', condition.signature, condition.description);
  end loop;
  -- Nothing of what they do is changed, so nobody becomes an author.
  alter table walhook.webhook disable trigger user;
  update walhook.webhook set doctype_oid = webhook_doctype::oid where doctype_oid <> webhook_doctype::oid;
  get diagnostics relinked = row_count;
  alter table walhook.webhook enable trigger user;
  delete from walhook.published;
  insert into walhook.published (publication, relation, member) select n.publication, n.relation, n.member from walhook.published_now() n;
  return relinked;
end $$;
comment on function walhook.relink() is
  'After pg_restore into another database, before a bridge starts there: finds the webhooks'' tables by their names, and takes the publications as they are. Authors stay. For a superuser; returns how many webhooks it was about.';
revoke all on function walhook.relink() from public;

-- Views of the log say of its columns what the log says of them.
do $$
declare
  silent record;
begin
  for silent in
    select c.relname, a.attname, col_description('walhook.webhook_request_log'::regclass, l.attnum) as words
      from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0
      join pg_catalog.pg_attribute l on l.attrelid = 'walhook.webhook_request_log'::regclass and l.attname = a.attname
     where c.relnamespace = 'walhook'::regnamespace and c.relkind = 'v' and col_description(c.oid, a.attnum) is null
       and col_description(l.attrelid, l.attnum) is not null
  loop
    execute format('comment on column walhook.%I.%I is %L', silent.relname, silent.attname, silent.words);
  end loop;
end $$;

do $$
declare
  statement text;
begin
  -- A whole table is taken back, so that columns can be given.
  foreach statement in array array[
    'revoke select on walhook.webhook_queue from walhook_admin',
    'revoke select on walhook.webhook_state, walhook.alert from walhook_monitor',
    -- What the bridge reads or writes by functions alone, or not at all.
    'revoke select on walhook.doctype, walhook.dead_letter, walhook.question, walhook.answer, walhook.expunged, walhook.published from walhook_bridge',
    'revoke execute on function walhook.doctype_problems(oid, oid) from walhook_bridge'
  ] loop
    if exists (select from pg_catalog.pg_roles r where r.rolname = substring(statement from ' from (walhook_[a-z]+)$')) then
      execute statement;
    end if;
  end loop;
  -- File 060 gives it all that is there when it runs; run again, that is more than the bridge has use for.
  if exists (select from pg_catalog.pg_roles r where r.rolname = 'walhook_bridge') then
    for statement in
      select format('revoke select on walhook.%I from walhook_bridge', c.relname) from pg_catalog.pg_class c
       where c.relnamespace = 'walhook'::regnamespace and (c.relkind = 'v' and c.relname <> 'signing_key' or c.relname in ('rollup_minute', 'rollup_hour'))
    loop
      execute statement;
    end loop;
  end if;
  perform walhook.grant_to_roles(array[
    -- A webhook's author is bound by what he may read; so is who configures: no bodies, headers, URLs or changes of tables
    -- that are not theirs. Names of documents are there, since repairs go by them.
    'grant select (delivery_id, webhook_id, webhook, kind, doctype, docname, old_docname, is_barrier, docevent, source, commit_lsn, change_lsn, change_index, '
      'event_number, xid, commit_time, attempts, due_at, is_dead, method, content_type, queued_at, is_ordered, holds_lane, batch_id) '
      'on walhook.webhook_queue to walhook_admin',
    'grant select (webhook_id, name, state, consecutive_failures, last_error_at, last_delivered_at, updated_at, health, breaker, breaker_opened_at, '
      'breaker_until, breaker_openings, first_failure_at, last_failure_at) on walhook.webhook_state to walhook_monitor',
    'grant select (id, type, webhook_id, webhook, state, previous, since, consecutive_failures, created_at) on walhook.alert to walhook_monitor',
    'grant select (is_dynamic_url, request_structure, timeout, enable_security, retry_schedule, ordering, on_exhausted, batch_size, batch_window, '
      'signature_formats, rate_limit, proxy, tls_profile, tls_min_version, payload_format, cloudevents_source, handshake, log_request_bytes, '
      'log_response_bytes, disable_after, created_at) on walhook.webhook to walhook_analyst'
  ]);
end $$;

insert into walhook.migration (version, name) values (170, 'rights') on conflict do nothing;

commit;
