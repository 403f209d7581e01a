-- Walhook 170: each role has what it needs and no more. docs/rights.md lists the outcome; a test compares it with the catalogs.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

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
