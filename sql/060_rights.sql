-- Walhook 060: who may do what. Grants to roles that do not exist are skipped.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.author_rights() returns table (webhook_id integer, may_read boolean, reason text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select w.id, p.problem is null, p.problem || coalesce('; remedy: ' || p.remedy, '')
  from walhook.webhook w, lateral walhook.author_problem(w.author, w.doctype_oid) p
$$;
comment on function walhook.author_rights() is
  'For each webhook, whether its author may still read the table, and if not, why. The bridge asks once a second and holds those that may not.';

do $$
declare
  f regprocedure;
begin
  -- Those of the sandbox are its own to revoke, and were where they were made.
  for f in select p.oid::regprocedure from pg_catalog.pg_proc p
    where p.pronamespace = 'walhook'::regnamespace and pg_catalog.pg_get_userbyid(p.proowner) = current_user loop
    execute format('revoke all on function %s from public', f);
  end loop;
end $$;
revoke all on schema walhook, walhook_condition from public;

do $$
declare
  statement text;
  role_name text;
begin
  foreach statement in array array[
    -- The bridge: reads everything, writes what is its own.
    'grant usage on schema walhook to walhook_bridge',
    'grant select on all tables in schema walhook to walhook_bridge',
    'grant insert on walhook.webhook_request_log to walhook_bridge',
    'grant insert, update, delete on walhook.webhook_queue, walhook.webhook_state, walhook.webhook_in_force to walhook_bridge',
    'grant update on walhook.bridge to walhook_bridge',
    'grant execute on function walhook.add_log_partitions(integer), walhook.drop_log_partitions(interval, bigint), '
      'walhook.ensure_leaf_identity(oid), walhook.needs(oid), walhook.reads_old(text), walhook.author_rights(), walhook.author_problem(oid, oid), '
      'walhook.unused_conditions(), walhook.drop_conditions(text[]) to walhook_bridge',
    -- Who configures.
    'grant usage on schema walhook to walhook_admin',
    'grant usage, create on schema walhook_condition to walhook_admin',
    'grant select, insert, update, delete on walhook.webhook, walhook.webhook_header, walhook.webhook_data to walhook_admin',
    'grant select on walhook.webhook_state, walhook.webhook_queue, walhook.bridge, walhook.replica_identity to walhook_admin',
    'grant execute on function walhook.set_author(), walhook.validate_webhook(), walhook.template_problem(text), '
      'walhook.author_problem(oid, oid), walhook.check_child(), walhook.touch_parent(), '
      'walhook.base_type(oid), walhook.condition_names(text, oid), walhook.condition_source(oid, text[]), '
      'walhook.condition_query(text, text, boolean, text, text, text), walhook.create_as(text, text), '
      'walhook.compile_condition(text, oid, text[], text), walhook.next_condition_revision(integer, integer), '
      'walhook.toasted_columns(oid, text[]), walhook.condition_is_stale(text), '
      'walhook.with_condition(text, walhook.webhook, walhook.webhook, text) to walhook_admin',
    -- Who reads the log: every DocType''s payloads.
    'grant usage on schema walhook to walhook_analyst',
    'grant select on walhook.webhook_request_log, walhook.webhook_queue, walhook.webhook_state, walhook.bridge to walhook_analyst',
    'grant select (id, name, webhook_doctype, webhook_docevent, enabled, condition, request_url, request_method, doctype, author, modified_at) '
      'on walhook.webhook to walhook_analyst',
    -- Who watches: no documents, URLs, headers, bodies.
    'grant usage on schema walhook to walhook_monitor',
    'grant select on walhook.webhook_state, walhook.bridge to walhook_monitor',
    'grant select (sent_at, delivery_id, attempt, request_id, webhook_id, webhook, doctype, docevent, source, outcome, status_code, '
      'duration_ms, error_class, lsn, xid, commit_time, method) on walhook.webhook_request_log to walhook_monitor'
  ] loop
    role_name := substring(statement from ' to (walhook_[a-z]+)$');
    if exists (select from pg_catalog.pg_roles r where r.rolname = role_name) then
      execute statement;
    else
      raise notice 'role % does not exist: skipped %', role_name, split_part(statement, ' to ', 1);
    end if;
  end loop;
end $$;

insert into walhook.migration (version, name) values (60, 'rights') on conflict do nothing;

commit;
