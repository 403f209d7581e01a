-- Walhook 198: walhook.why says what made a delivery, knows webhooks that were deleted, and can be asked about one webhook; what is over is not told as if it were not.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- What is over -------------------------------------------------------------------------------------------------------------

create or replace view walhook.status with (security_barrier) as
  select w.id as webhook_id, w.name as webhook, w.doctype, w.enabled, walhook.is_paused(w.id) as paused,
         coalesce(s.state, 'ok') as state, coalesce(s.health, 'ok') as health, coalesce(s.breaker, 'closed') as breaker, s.breaker_until,
         s.last_delivered_at as last_success_at, s.last_failure_at, coalesce(s.consecutive_failures, 0) as consecutive_failures,
         case when pg_catalog.has_column_privilege('walhook.webhook_state', 'last_failure', 'SELECT') then s.last_failure end as last_failure,
         case when (coalesce(s.state, 'ok') <> 'ok' or coalesce(s.health, 'ok') <> 'ok')
                   and pg_catalog.has_column_privilege('walhook.webhook_state', 'last_error', 'SELECT') then s.last_error end as last_error,
         coalesce(h.attempts, 0) as attempts, round(100.0 * coalesce(h.delivered, 0) / nullif(h.attempts, 0), 2) as success_percent,
         round(h.p[1]::numeric, 3) as p50_ms, round(h.p[2]::numeric, 3) as p95_ms, round(h.p[3]::numeric, 3) as p99_ms,
         coalesce(q.depth, 0) as queue_depth, coalesce(q.dead, 0) as dead_letters, q.oldest as oldest_commit_time, now() - q.oldest as oldest_age, n.next_attempt_at
  from walhook.webhook w
  left join walhook.webhook_state s on s.webhook_id = w.id
  cross join lateral (
    select sum(r.log_rows) as attempts, sum(r.log_rows) filter (where r.outcome = 'delivered') as delivered,
           (select walhook.percentiles(array_agg(b.bucket), array_agg(b.n), '{0.5,0.95,0.99}')
              from walhook.webhook_rollup p, unnest(p.duration_buckets::integer[], p.duration_counts::bigint[]) as b (bucket, n)
             where p.webhook_id = w.id and p.minute > now() - interval '1 hour') as p
      from walhook.webhook_rollup r
     where r.webhook_id = w.id and r.minute > now() - interval '1 hour'
       and r.outcome in ('delivered', 'retry', 'dead', 'blocked', 'error')) h
  -- All at once: where one webhook has nearly all of the queue, the planner would read it whole for each of the others.
  left join (
    select o.webhook_id, count(*) filter (where not o.is_dead) as depth, min(o.commit_time) filter (where not o.is_dead) as oldest,
           count(*) filter (where o.is_dead) as dead
      from walhook.webhook_queue o group by o.webhook_id) q on q.webhook_id = w.id
  cross join lateral (
    select min(k.due_at) as next_attempt_at
      from (values ('request'), ('undecided')) v (kind),
           lateral (select o.due_at from walhook.webhook_queue o
                     where o.webhook_id = w.id and o.kind = v.kind and o.due_at is not null and not o.is_dead
                     order by o.due_at limit 1) k) n;
comment on column walhook.status.last_error is 'Why it does not send, with the remedy; NULL where state and health are ok, and for who may not read webhook_state.last_error.';

create or replace view walhook.bridge_status with (security_barrier) as
  select b.state, b.version, b.epoch, b.started_at, b.updated_at as last_checkpoint_at, b.cursor_time as last_change_at,
         greatest(t.tip - coalesce(s.confirmed_flush_lsn, b.flush_lsn), 0) as lag_bytes,
         -- Below a mebibyte it is what other tables and the bridge itself write.
         case when t.tip - coalesce(s.confirmed_flush_lsn, b.flush_lsn) <= 1048576 then 0
              else round(extract(epoch from now() - coalesce(b.cursor_time, b.started_at))::numeric, 1) end as lag_seconds,
         greatest(t.tip - s.restart_lsn, 0) as retained_wal_bytes,
         b.slot_name,
         case when b.slot_name is null then 'none'
              when s.slot_name is null then 'missing'
              when s.wal_status = 'lost' then 'lost'
              when s.wal_status = 'unreserved' then 'in danger'
              when not s.active then 'nobody reads it'
              else 'ok' end as slot_health,
         s.active as slot_active, s.wal_status, s.safe_wal_size,
         b.last_error, b.last_error_at, b.gap_kind, b.gap_from_lsn, b.gap_to_lsn, b.gap_detected_at,
         coalesce(b.remedy, case when b.gap_kind is null and b.slot_name is not null and s.slot_name is null then 'See walhook accept-gap: changes since the slot went may be lost.'
                                 when b.state in ('new', 'stopped') or b.state = 'running' and not coalesce(s.active, false) then 'Start it: walhook run.' end) as remedy,
         b.maintenance, b.maintenance_at
  from walhook.bridge b
  left join pg_catalog.pg_replication_slots s on s.slot_name = b.slot_name and s.database = current_database()
  cross join lateral (
    select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end as tip) t;
comment on column walhook.bridge.state is
  'new, running, stopped, failed (see last_error), gap (changes may be missing: see the gap_ columns and remedy). A bridge that was killed, or waits for the database, leaves running: see bridge_status.slot_active. waiting is not written.';
comment on column walhook.bridge_status.state is 'new, running, stopped, failed or gap: see bridge.state. After a crash it says what it said last; then slot_active is false.';
comment on column walhook.bridge_status.remedy is 'What to do about last_error, or about a bridge that is not at work.';

create or replace function walhook.whole_question(webhook text, docname text, event text, condition text, old jsonb, max_rows integer, path text,
    id text, sent_at timestamptz, lsn pg_lsn, xid bigint, commit_time timestamptz) returns jsonb
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  question jsonb := walhook.question_about(webhook, docname, event, condition, old, case when id is null then max_rows else 1 end, path);
  number constant integer := (question ->> 'webhookId')::integer;
  facts record;
begin
  select f.lsn, f.xid, f.commit_time into facts from walhook.facts_of_delivery(number, id) f where id is not null;
  return question || jsonb_build_object(
    'waits', (select string_agg(w.reason, '; ') from (
      select format('the webhook is paused%s: what it would send waits in the queue until walhook.resume(%L)', ' (' || p.reason || ')', whole_question.webhook) as reason
        from walhook.paused p where p.webhook_id = number
      union all
      select format('its breaker is %s%s, since its receiver fails: what it would send waits in the queue', replace(s.breaker, '_', ' '), case when s.breaker_until > now() then ' until ' || s.breaker_until::timestamptz(0) end)
        from walhook.webhook_state s where s.webhook_id = number and s.breaker <> 'closed') w),
    'id', id,
    'sentAtMs', floor(extract(epoch from coalesce(sent_at, clock_timestamp())) * 1000)::bigint,
    'lsn', coalesce(lsn, facts.lsn, pg_current_wal_insert_lsn()),
    'xid', coalesce(xid, facts.xid),
    'commitTimeUs', (extract(epoch from coalesce(commit_time, facts.commit_time, now())) * 1000000)::bigint::text);
end $$;
comment on function walhook.whole_question(text, text, text, text, jsonb, integer, text, text, timestamptz, pg_lsn, bigint, timestamptz) is
  'A question with the facts of its commit (as given, as the log has them of the delivery, or of now), and what would keep a delivery waiting.';

comment on column walhook.previewed.fires is 'Whether this event would be sent now: it is chosen, its condition holds, and nothing keeps it waiting.';

create or replace view walhook.document_history with (security_barrier) as
  with visible as (
    select w.id, w.name, w.doctype, w.doctype_oid from walhook.webhook w
     where pg_catalog.has_table_privilege('walhook.webhook_request_log', 'SELECT')
        or (coalesce(pg_catalog.has_table_privilege(w.doctype_oid, 'SELECT'), false) and not pg_catalog.row_security_active(w.doctype_oid))
  )
  select v.doctype_oid, l.docname, v.id as webhook_id, v.name as webhook, l.docevent, l.delivery_id, l.lsn, l.commit_time, 'log' as source,
         l.outcome, l.attempt as attempts, null::timestamptz as due_at, l.sent_at as at, nullif(pg_catalog.concat_ws('; ', case when l.outcome <> 'delivered' then case when l.source = 'test' then 'it was a test' end
           when l.source = 'test' then 'sent as a test' when l.source = 'replay' then 'sent again by a replay' when l.source = 'backfill' then 'sent by a backfill' end,
           coalesce(l.error, 'HTTP ' || l.status_code)), '') as reason
    from visible v join walhook.webhook_request_log l on l.doctype = v.doctype and l.webhook_id = v.id
  union all
  select v.doctype_oid, q.docname, v.id, v.name, q.docevent, q.delivery_id, q.commit_lsn, q.commit_time, 'queue',
         case when q.is_dead then 'dead' when q.kind = 'undecided' then 'undecided' when q.due_at is null then 'behind' else 'due' end,
         q.attempts, q.due_at, q.queued_at, q.last_error
    from visible v join walhook.webhook_queue q on q.webhook_id = v.id
  union all
  select v.doctype_oid, d.docname, v.id, v.name, d.docevent, d.delivery_id, d.lsn, d.commit_time, 'decision', 'declined', 0, null, d.decided_at, d.reason
    from visible v join walhook.webhook_decision d on d.webhook_id = v.id
  union all
  -- Of webhooks that were deleted only the log knows, by the table's name: for those alone who may read all of it.
  select c.oid, l.docname, l.webhook_id, l.webhook, l.docevent, l.delivery_id, l.lsn, l.commit_time, 'log',
         l.outcome, l.attempt, null, l.sent_at, coalesce(l.error, 'HTTP ' || l.status_code)
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join walhook.webhook_request_log l on l.doctype = case when n.nspname = 'public' then c.relname::text else n.nspname || '.' || c.relname end
   where c.relkind in ('r', 'p') and pg_catalog.has_table_privilege('walhook.webhook_request_log', 'SELECT')
     and not exists (select from walhook.webhook w where w.id = l.webhook_id);
comment on view walhook.document_history is
  'What log, queue and decisions say of documents of tables that whoever asks may read (of all of them, and of webhooks that were deleted, where the log may be read): what walhook.why reads. Ask for doctype_oid and docname.';
comment on column walhook.document_history.webhook is 'Its name now; of one that was deleted its name then.';
comment on column walhook.document_history.reason is 'The error, or the answer, or the reason; and what it was where not an event made it: a test, a replay, a backfill.';

create or replace view walhook.webhook_obstacle with (security_barrier) as
  select w.id as webhook_id, w.name as webhook, w.doctype_oid, o.obstacle
    from walhook.webhook w
    left join walhook.webhook_state s on s.webhook_id = w.id
    left join walhook.paused p on p.webhook_id = w.id
   cross join walhook.bridge b
    left join lateral (
      select r.slot_name, r.active, r.wal_status, pg_catalog.pg_wal_lsn_diff(
               case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_lsn() end, r.confirmed_flush_lsn) as unread
        from pg_catalog.pg_replication_slots r where r.slot_name = b.slot_name and r.database = pg_catalog.current_database()) t on true
   cross join lateral (
      select ': ' || case when pg_catalog.has_column_privilege('walhook.webhook_state', 'last_error', 'SELECT')
        or pg_catalog.has_table_privilege(w.doctype_oid, 'SELECT') then s.last_error end as because) e
   cross join lateral (values
      (case when not w.enabled then 'it is disabled: what is committed now passes it by, deliveries that are open wait'
         || case when s.state = 'disabled' then coalesce('; Walhook disabled it' || e.because, '') else '' end end),
      (case when p.webhook_id is not null then format('it is paused since %s by %s%s: its deliveries wait until walhook.resume(%L)',
         p.paused_at::timestamptz(0), p.paused_by, ' (' || p.reason || ')', w.name) end),
      (case s.state
         when 'ok' then null
         when 'disabled' then null
         when 'held' then 'it is held, its deliveries wait' || coalesce(e.because, '')
         when 'blocked' then 'it may not go to its address, its deliveries wait' || coalesce(e.because, '')
         when 'undecided' then 'its condition does not answer, what it is asked about waits' || coalesce(e.because, '')
         when 'invalid' then 'nothing can be made by its template' || coalesce(e.because, '')
         else 'it is ' || s.state || coalesce(e.because, '') end),
      (case s.breaker
         when 'open' then 'its breaker is open' || case when s.breaker_until > now() then ' until ' || s.breaker_until::timestamptz(0) else '' end || ', since its receiver fails or has asked for a pause: its deliveries wait, which costs no attempt'
         when 'half_open' then 'its breaker is half open, one request at a time tries whether its receiver is back: its other deliveries wait' end),
      (case when exists (select from walhook.published m where m.relation = w.doctype_oid
                           and (m.is_broken or not exists (select from pg_catalog.pg_publication_rel r where r.oid = m.member)))
              then 'its table was taken out of its publication, so changes of it may be missing: walhook accept-gap shows what to do'
            when not exists (select from walhook.published m where m.relation = w.doctype_oid)
              then 'its table is not published, so no change of it is seen: update walhook.webhook set revision = revision + 1 where name = ' || quote_literal(w.name) end),
      (case when b.gap_kind is not null then format('the bridge has stopped at a gap (%s): %s', b.gap_kind, coalesce(rtrim(b.remedy, '.'), 'walhook accept-gap'))
            when b.state = 'new' then 'no bridge has run yet: walhook run'
            when b.slot_name is not null and t.slot_name is null
              then 'the replication slot does not exist any more, so what is committed may be lost: walhook accept-gap shows what to do'
            when t.wal_status = 'lost'
              then 'the replication slot has lost its part of the write-ahead log, so what is committed may be lost: walhook accept-gap shows what to do'
            when b.state = 'stopped' then 'the bridge is stopped, and what is committed waits in the write-ahead log: walhook run'
            when b.state = 'failed' then 'the bridge has failed' || coalesce(': ' || b.last_error, '')
            when not t.active then 'no bridge is connected, and what is committed waits in the write-ahead log: walhook run'
            -- Below a mebibyte it is what other tables and the bridge itself write, as in walhook.bridge_status.
            when t.unread > 1048576
              then format('the bridge is behind, %s of the write-ahead log are not read yet: what is committed may be among them', pg_catalog.pg_size_pretty(t.unread)) end)) o (obstacle)
   where o.obstacle is not null;

comment on view walhook.webhook_obstacle is 'What keeps a webhook from sending now, one row each; none: nothing does.';
comment on column walhook.webhook_obstacle.obstacle is 'In words, with the remedy where there is one; what stands before the first colon or comma says it in short.';

drop view if exists walhook.webhook_brief;
create or replace view walhook.webhook_summary as
  select w.id, w.name, w.doctype_oid, w.webhook_docevent, w.condition is not null as has_condition, w.log_decisions, w.modified_at, w.created_at,
         w.doctype, not exists (select from walhook.published m where m.relation = w.doctype_oid and m.publication = 'walhook_all') as sees_inserts_only
    from walhook.webhook w;
comment on view walhook.webhook_summary is 'Of each webhook what walhook.why says of it.';
comment on column walhook.webhook_summary.id is 'Number of the webhook.';
comment on column walhook.webhook_summary.name is 'Its name.';
comment on column walhook.webhook_summary.doctype_oid is 'OID of its table.';
comment on column walhook.webhook_summary.webhook_docevent is 'Its doc events.';
comment on column walhook.webhook_summary.has_condition is 'Whether it has a condition.';
comment on column walhook.webhook_summary.log_decisions is 'Whether it is kept why nothing was sent.';
comment on column walhook.webhook_summary.modified_at is 'When it was changed last.';
comment on column walhook.webhook_summary.created_at is 'When it was made.';
comment on column walhook.webhook_summary.doctype is 'The table''s name in the log.';
comment on column walhook.webhook_summary.sees_inserts_only is 'Whether its table is published for INSERT and TRUNCATE only, since no webhook needs more: of its other changes nothing is known.';

-- Remedies that can be run ---------------------------------------------------------------------------------------------------

create or replace function walhook.author_rights() returns table (webhook_id integer, may_read boolean, reason text)
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  with pair as materialized (
    select distinct w.author, w.doctype_oid from walhook.webhook w
  ), judged as materialized (
    select pair.author, pair.doctype_oid, p.problem, p.remedy,
           not exists (select from pg_roles r where r.oid = pair.author) as is_gone, not exists (select from pg_class c where c.oid = pair.doctype_oid) as has_no_table
    from pair cross join lateral walhook.author_problem(pair.author, pair.doctype_oid) p
  )
  select w.id, j.problem is null,
         j.problem || coalesce('; remedy: ' || case
           when j.is_gone and w.condition is null then format('another role takes it over by update walhook.webhook set revision = revision + 1 where name = %L', w.name)
           when j.is_gone then format('read its condition first: another role takes it over, and it runs with that role''s rights from then on, by '
             'update walhook.webhook set revision = revision + 1, condition = condition where name = %L', w.name)
           when j.has_no_table then format('update walhook.webhook set webhook_doctype = ''…'' where name = %L, or delete it', w.name)
           else j.remedy end, '')
  from walhook.webhook w join judged j on j.author = w.author and j.doctype_oid = w.doctype_oid;
$$;

create or replace function walhook.set_expunger() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.expunged_by := quote_ident(current_user)::regrole;
  -- Not the transaction's: it may do it twice.
  new.expunged_at := clock_timestamp();
  return new;
end $$;

-- Names of documents ---------------------------------------------------------------------------------------------------------------

create or replace function walhook.docname_as_logged(doctype_oid oid, docname text, out name text, out key_columns text, out condition text)
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
  -- Values read as they do in the stream.
  set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C'
as $$
declare
  keys record;
  texts text[] := array[docname];
  spelt text;
  failure text;
begin
  select array_agg(a.attname::text order by k.place) as names, array_agg(format_type(walhook.base_type(a.atttypid), a.atttypmod) order by k.place) as types,
         array_agg(a.atttypid order by k.place) as oids,
         -- What is text already has one spelling; a cast could cut it off.
         array_agg(t.typcategory = 'S' order by k.place) as are_texts into keys
    from pg_index i
   cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    join pg_type t on t.oid = walhook.base_type(a.atttypid)
   where i.indrelid = doctype_oid and i.indisprimary and k.place <= i.indnkeyatts;
  if keys.names is null then return; end if;
  key_columns := (select string_agg(quote_ident(n.name), ', ' order by n.place) from unnest(keys.names) with ordinality as n (name, place));
  -- Taken from the log or the queue; nobody can tell the row by it.
  if walhook.is_short_name(docname) then
    name := docname;
    return;
  end if;
  begin
    if cardinality(keys.names) > 1 then
      texts := array(select e.value from jsonb_array_elements_text(docname::jsonb) with ordinality as e (value, n) order by e.n);
      if cardinality(texts) <> cardinality(keys.names) or array_position(texts, null) is not null then
        raise exception using errcode = 'invalid_text_representation', message = format('it has %s of %s values', cardinality(texts), cardinality(keys.names));
      end if;
    end if;
    for n in 1 .. cardinality(keys.names) loop
      condition := concat_ws(' and ', condition, walhook.key_is(keys.names[n], keys.oids[n], keys.types[n], texts[n]));
      if not keys.are_texts[n] and walhook.is_plain_type(keys.oids[n]) then
        execute format('select format(''%%s'', %L::%s)', texts[n], keys.types[n]) into spelt;
        texts[n] := spelt;
      end if;
    end loop;
  exception when others then
    failure := sqlerrm;
    raise exception '% is no name of a document of %', quote_literal(docname), regexp_replace(doctype_oid::regclass::text, '^public\.', '') using errcode = 'invalid_parameter_value', detail = failure,
      hint = case when cardinality(keys.names) = 1 then format('Its key is %s (%s): the name is its value as text.', key_columns, keys.types[1])
        else format('Its key is (%s): the name is a JSON array of their texts, for example %s.', key_columns,
          quote_literal((select '[' || string_agg(to_json(case when keys.types[e.n] ~ 'date' then '2026-01-31' when keys.are_texts[e.n] then 'DE' else e.n::text end)::text, ',' order by e.n) || ']'
                           from generate_subscripts(keys.names, 1) as e (n)))) end;
  end;
  name := walhook.short_name(case when cardinality(keys.names) = 1 then texts[1]
    else (select '[' || string_agg(to_json(t.value)::text, ',' order by t.n) || ']' from unnest(texts) with ordinality as t (value, n)) end);
end $$;
comment on function walhook.docname_as_logged(oid, text) is
  'A document''s name as the log has it (042 of an integer key is 42, a JSON array has no blanks, and a long name is shortened, see walhook.short_name), with the key''s columns and the condition by which its row is found, NULL where the name given is a shortened one; all NULL where the table has no primary key. Raises where it cannot be a name.';

-- walhook.why ----------------------------------------------------------------------------------------------------------------

-- A type, since an argument may not have the name of a column of RETURNS TABLE.
do $$
begin
  create type walhook.told as (
    webhook text, docevent text, verdict text, reason text, commit_time timestamptz, attempts integer, next_attempt_at timestamptz, delivery_id text, lsn pg_lsn);
exception when duplicate_object then
  null;
end $$;
comment on type walhook.told is 'What became of a change, see walhook.why.';
comment on column walhook.told.webhook is 'The webhook.';
comment on column walhook.told.docevent is 'The doc event; of a row "now" those that it watches.';
comment on column walhook.told.verdict is 'sent, waiting, not sent, given up, unknown, or now.';
comment on column walhook.told.reason is 'Why.';
comment on column walhook.told.commit_time is 'When the change was committed.';
comment on column walhook.told.attempts is 'Attempts so far.';
comment on column walhook.told.next_attempt_at is 'When the next one is due.';
comment on column walhook.told.delivery_id is 'The webhook-id.';
comment on column walhook.told.lsn is 'Commit LSN of the change.';

drop function if exists walhook.why(regclass, text, timestamptz);
create or replace function walhook.why(doctype regclass, docname text, since timestamptz default now() - interval '7 days', webhook text default null)
  returns setof walhook.told
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  watched constant oid := coalesce(pg_partition_root(why.doctype), why.doctype);
  from_time constant timestamptz := coalesce(why.since, now() - interval '7 days');
  chosen constant text := why.webhook;
  is_visible constant boolean := has_table_privilege(watched, 'SELECT') and not row_security_active(watched);
  sought record;
  named text;
  said text;
  newest timestamptz;
  is_there boolean;
  -- By webhook: the dead letter that holds the document.
  holders jsonb;
begin
  if why.doctype is null then
    raise exception 'which table? Its name is NULL' using errcode = 'null_value_not_allowed', hint = 'select * from walhook.why(''orders'', ''42'');';
  end if;
  if not has_table_privilege('walhook.webhook_request_log', 'SELECT') and not is_visible then
    raise exception 'you may not read table %', why.doctype using errcode = 'insufficient_privilege',
      hint = 'walhook.why shows what was sent of its rows: it takes SELECT on the table, without row-level security, or membership in walhook_analyst.';
  end if;
  named := (select w.doctype from walhook.webhook_summary w where w.doctype_oid = watched limit 1);
  if why.docname is null then
    raise exception 'which document of %? Its name is NULL', coalesce(named, watched::regclass::text) using errcode = 'null_value_not_allowed';
  end if;
  begin
    select n.name, n.key_columns, n.condition into sought from walhook.docname_as_logged(watched, why.docname) n;
  exception when invalid_parameter_value then
    if named is not null then raise; end if;
    select why.docname as name, null::text as key_columns, null::text as condition into sought; -- No webhook has it in mind.
  end;
  if chosen is not null and not exists (select from walhook.webhook_summary w where w.doctype_oid = watched and w.name = chosen)
    and not exists (select from walhook.document_history h where h.doctype_oid = watched and h.docname = sought.name and h.webhook = chosen) then
    raise exception 'no webhook "%" watches table %', chosen, watched::regclass using errcode = 'no_data_found',
      hint = coalesce('These do: ' || (select string_agg(w.name, ', ' order by w.name) from walhook.webhook_summary w where w.doctype_oid = watched) || '.', 'None does.');
  end if;

  select jsonb_object_agg(d.webhook_id, jsonb_build_object('lsn', d.commit_lsn, 'words', format(
           'the dead letter %s, which holds its document (on_exhausted = ''hold''): select walhook.replay_dead_letters(%L, delivery_id => %L), or walhook.cancel_dead_letters(…)',
           d.delivery_id, d.webhook, d.delivery_id))) into holders
    from (select distinct on (q.webhook_id) q.webhook_id, w.name as webhook, q.delivery_id, q.commit_lsn
            from walhook.webhook_summary w join walhook.webhook_queue q on q.webhook_id = w.id
           where w.doctype_oid = watched and q.is_dead and q.holds_lane and (q.docname = sought.name or q.old_docname = sought.name or q.is_barrier)
           order by q.webhook_id, q.commit_lsn, q.change_lsn, q.change_index, q.event_number) d;

  return query
  with history as (
    select h.webhook_id, h.webhook, h.docevent, h.delivery_id, h.lsn, h.commit_time, h.source, h.outcome, h.attempts, h.due_at, h.at, h.reason,
           not exists (select from walhook.webhook_summary w where w.id = h.webhook_id) as is_deleted
      from walhook.document_history h
     where h.doctype_oid = watched and h.docname = sought.name and (chosen is null or h.webhook = chosen)
  ), latest as (
    -- The queue knows better than the log, and a later row better than an earlier one.
    select distinct on (h.delivery_id) h.webhook_id, h.webhook, h.docevent, h.delivery_id, h.lsn, h.commit_time, h.outcome, h.attempts, h.due_at, h.reason, h.is_deleted
      from history h where h.commit_time >= from_time or h.commit_time is null
     order by h.delivery_id, (h.source = 'queue') desc, h.at desc, h.attempts desc
  ), waiting as (
    select o.webhook_id, string_agg(substring(o.obstacle from '^(.*?)(?:: |, |$)'), '; ' order by o.obstacle) as words
      from walhook.webhook_obstacle o where o.doctype_oid = watched group by o.webhook_id
  )
  select l.webhook, l.docevent,
         case l.outcome when 'delivered' then 'sent' when 'dead' then 'given up'
           when 'due' then 'waiting' when 'behind' then 'waiting' when 'undecided' then 'waiting' when 'retry' then 'waiting' when 'blocked' then 'waiting'
           else 'not sent' end,
         nullif(concat_ws('; ', case l.outcome
           when 'delivered' then l.reason
           when 'declined' then l.reason
           when 'dead' then concat_ws('; ', 'every attempt failed, the last one with ' || l.reason,
             format('to try again: select walhook.replay_dead_letters(%L, delivery_id => %L)', l.webhook, l.delivery_id))
           when 'due' then concat_ws('; ', case when l.due_at <= now() then 'its next attempt is due' else 'its next attempt is due at ' || l.due_at::timestamptz(0) end,
             case when l.attempts > 0 then 'the last one failed with ' || l.reason end, w.words)
           when 'behind' then concat_ws('; ', case when (holders -> l.webhook_id::text ->> 'lsn')::pg_lsn <= l.lsn
               then 'it waits behind ' || (holders -> l.webhook_id::text ->> 'words')
               else 'an earlier delivery of this document has not ended' end, w.words)
           when 'undecided' then concat_ws('; ', 'its condition is to be asked again' || coalesce(': ' || l.reason, ''), w.words)
           else coalesce(l.outcome || ': ' || l.reason, l.outcome) end,
           case when l.is_deleted then 'its webhook was deleted since' end), ''),
         l.commit_time, l.attempts, l.due_at, l.delivery_id, l.lsn
    from latest l
    left join waiting w on w.webhook_id = l.webhook_id
   order by l.lsn desc nulls last, l.delivery_id;

  -- Nothing stands anywhere: is there such a document at all?
  if not found and named is not null then
    if sought.name is null then
      said := format('table %s has no primary key, so its rows have no docname: look for a change by its commit, select * from walhook.delivery where doctype = %L and lsn = …, or by commit_time',
        named, named);
    else
      newest := (select max(h.commit_time) from walhook.document_history h where h.doctype_oid = watched and h.docname = sought.name and (chosen is null or h.webhook = chosen));
      if is_visible and sought.condition is not null then
        begin
          execute format('select exists (select from %s as doc where %s)', watched::regclass, sought.condition) into is_there;
        exception when others then
          is_there := null; -- A type whose operators are elsewhere.
        end;
      end if;
      said := format(case when is_there then 'there is a document %L in %s, and nothing is known of a change of it%s; key columns: %s'
          when not is_there then 'there is no document %L in %s, and nothing is known of one%s; key columns: %s'
          else 'nothing is known of a document %L in %s%s; key columns: %s' end,
        sought.name, named, case when newest is null then '' else format(' since %s, but before: since => %L', from_time::timestamptz(0), newest) end, sought.key_columns);
    end if;
    return query select null::text, null::text, 'unknown', said, null::timestamptz, null::integer, null::timestamptz, null::text, null::pg_lsn;
  end if;

  -- What holds for changes of which nothing stands anywhere.
  return query
  select w.name, w.webhook_docevent, 'now',
         concat_ws(E'\n',
           coalesce(nullif(concat_ws(E'\n', (select string_agg(o.obstacle, E'\n' order by o.obstacle) from walhook.webhook_obstacle o where o.webhook_id = w.id),
             'changes of this document wait behind ' || (holders -> w.id::text ->> 'words')), ''), 'nothing keeps it from sending'),
           'it watches ' || replace(w.webhook_docevent, ', ', ' and ') || ': other events of this table make nothing',
           case when w.log_decisions then 'where it does not fire, the reason is kept for a day (log_decisions)'
                when w.has_condition then 'where its condition is not TRUE, nothing is kept: log_decisions = true keeps the reason, and walhook.preview asks it about the row as it is' end,
           case when w.log_decisions and w.sees_inserts_only
                then 'its table is published for INSERT and TRUNCATE only, since no webhook needs more: no UPDATE or DELETE is seen, and nothing is kept of them' end,
           case when w.created_at > from_time then format('it was made at %s: what was committed before passed it by', w.created_at::timestamptz(0)) end,
           case when w.modified_at > from_time and w.modified_at > w.created_at
                then format('it was changed last at %s: what was committed before met it as it was then', w.modified_at::timestamptz(0)) end),
         null::timestamptz, null::integer, null::timestamptz, null::text, null::pg_lsn
    from walhook.webhook_summary w where w.doctype_oid = watched and (chosen is null or w.name = chosen)
   order by w.name;
  if named is null then
    return query select null::text, null::text, 'now', format('no webhook watches table %s', watched::regclass),
      null::timestamptz, null::integer, null::timestamptz, null::text, null::pg_lsn;
  end if;
end $$;
comment on function walhook.why(regclass, text, timestamptz, text) is
  'For a document, the newest change first: each delivery of each webhook, or of one, with verdict (sent, waiting, not sent, given up) and reason; unknown where nothing stands of it anywhere; then for each webhook of the table a row "now", which says what would keep it from sending. Asks for the caller''s right to read the table.';

-- Rights -------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.docname_as_logged(oid, text), walhook.why(regclass, text, timestamptz, text) from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.webhook_summary to walhook_admin', 'grant select on walhook.webhook_summary to walhook_analyst',
    'grant execute on function walhook.docname_as_logged(oid, text), walhook.why(regclass, text, timestamptz, text) to walhook_admin',
    'grant execute on function walhook.docname_as_logged(oid, text), walhook.base_type(oid), walhook.why(regclass, text, timestamptz, text) to walhook_analyst']);
end $$;

insert into walhook.migration (version, name) values (198, 'why') on conflict do nothing;

commit;
