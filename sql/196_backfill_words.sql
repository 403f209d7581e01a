-- Walhook 196: a backfill says what is wrong with its condition in words, and when there is nothing to resume.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.make_backfill(webhook text, condition text, path text) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  streams_stored constant boolean := current_setting('server_version_num')::integer >= 180000;
  w record;
  mine record;
  number bigint;
  state text;
  failure text;
  failure_detail text;
  failure_hint text;
begin
  if btrim(make_backfill.condition, E' \t\r\n\f\v') = '' then
    raise exception 'the condition is empty' using errcode = 'invalid_parameter_value', hint = 'Leave it out to send all rows.';
  end if;
  perform walhook.require_table(webhook);
  select h.id, h.doctype_oid into w from walhook.webhook h where h.id = walhook.webhook_number(make_backfill.webhook);
  select p.problem, p.remedy into mine from walhook.author_problem(quote_ident(current_user)::regrole, w.doctype_oid) p;
  if mine.problem is not null then
    raise exception 'webhook "%": %', webhook, mine.problem using errcode = 'insufficient_privilege',
      detail = 'Who has a table''s rows sent must be able to be the webhook''s author.', hint = coalesce(mine.remedy, 'walhook.doctype says what is in the way of each table.');
  end if;
  insert into walhook.backfill_request (webhook_id, condition, doctype_oid, columns)
    select w.id, btrim(make_backfill.condition), w.doctype_oid,
           json_agg(json_build_object('name', a.attname, 'typeOid', a.atttypid::bigint) order by a.attnum)
      from pg_attribute a
     where a.attrelid = w.doctype_oid and a.attnum > 0 and not a.attisdropped and (a.attgenerated = '' or (a.attgenerated = 's' and streams_stored))
    returning id into number;
  begin
    perform walhook.create_backfill_function(number, w.doctype_oid, btrim(make_backfill.condition), path);
  exception when others then
    get stacked diagnostics state = returned_sqlstate, failure = message_text, failure_detail = pg_exception_detail, failure_hint = pg_exception_hint;
    -- Whatever it is about is no matter of a condition where none was given, or of who may make functions.
    if make_backfill.condition is null or state in ('42501', '42723') or walhook.backfill_key(w.doctype_oid) is null then raise; end if;
    perform walhook.refuse_condition(format('webhook "%s"', webhook), btrim(make_backfill.condition), w.doctype_oid, state, failure, failure_detail, failure_hint,
      'A backfill has no old: it sends rows as they are now. Write doc.… instead of old.…');
  end;
  return number;
end $$;

create or replace view walhook.backfill_progress as
  select r.id as backfill_id, coalesce(w.name, '') as webhook, r.condition,
         case when s.state = 'failed' and w.id is null then 'cancelled'
              when coalesce(s.state, 'running') = 'running' and r.wanted = 'pause' then 'paused'
              when s.state is null then 'new' else s.state end as state,
         coalesce(s.rows_done, 0) as rows_done, s.rows_estimated, coalesce(s.rows_sent, 0) as rows_sent,
         case when s.state = 'done' then 100.0 when s.rows_estimated > 0 then least(round(100.0 * s.rows_done / s.rows_estimated, 1), 100.0) end as percent,
         case when s.updated_at > s.started_at then round((s.rows_done / extract(epoch from s.updated_at - s.started_at))::numeric, 1) end as rows_per_second,
         case when s.state = 'running' and s.rows_done > 0 and s.updated_at > s.started_at
              then make_interval(secs => greatest(s.rows_estimated - s.rows_done, 0) * extract(epoch from s.updated_at - s.started_at)::float8 / s.rows_done) end as time_left,
         s.error, r.requested_by::text as requested_by, r.requested_at, s.started_at, s.updated_at,
         case
           when s.state in ('done', 'cancelled') or s.state = 'failed' and w.id is null then null
           when r.wanted <> 'cancel' and not exists (select from pg_catalog.pg_class t where t.oid = r.doctype_oid)
             then format('you: its table does not exist any more, so select walhook.cancel_backfill(%s)', r.id)
           -- These errors say so themselves, see walhook.backfill_queries and walhook.read_backfill.
           when s.state = 'failed' and r.wanted <> 'cancel' and r.resumes <= s.resumes and s.error ~ '(Cancel it, and ask for another one|walhook.cancel_backfill)'
             then format('you: it cannot go on, see error; select walhook.cancel_backfill(%s)', r.id)
           when s.state = 'failed' and r.wanted <> 'cancel' and r.resumes <= s.resumes
             then format('you: mend what error says, then select walhook.resume_backfill(%s)', r.id)
           when not exists (select from walhook.bridge b join pg_catalog.pg_replication_slots l on l.slot_name = b.slot_name where l.active)
             then 'a bridge: none is at work'
           when r.wanted = 'cancel' or w.id is null then null
           when r.wanted = 'pause' then format('you: select walhook.resume_backfill(%s)', r.id)
           when not w.enabled then format('its webhook: %I is disabled', w.name)
           when exists (select from walhook.paused p where p.webhook_id = w.id) then format('its webhook: select walhook.resume(%L)', w.name)
           when h.state = 'held' then format('its webhook: %I is held, see walhook.status', w.name)
           when 500 <= (select count(*) from (select from walhook.webhook_queue q where q.webhook_id = w.id and not q.is_dead limit 500) waiting)
             then format('its receiver: 500 deliveries of %I or more wait in the queue', w.name)
           when s.error is not null then 'another try: see error'
         end as waits_for
    from walhook.backfill_request r
    left join walhook.backfill_state s on s.backfill_id = r.id
    left join walhook.webhook w on w.id = r.webhook_id
    left join walhook.webhook_state h on h.webhook_id = w.id;
comment on column walhook.backfill_progress.state is 'new, running, paused, done, cancelled (also where it had failed, and its webhook is gone), or failed: see error.';

insert into walhook.migration (version, name) values (196, 'backfill_words') on conflict do nothing;

commit;
