-- Walhook 146: why something was sent, or was not.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- Decisions not to send ------------------------------------------------------------------------------------------------------

alter table walhook.webhook add column if not exists log_decisions boolean not null default false;
comment on column walhook.webhook.log_decisions is
  'Whether it is written into walhook.webhook_decision, for a day, when its condition does not hold for a change. Costs a row for each; without it nothing.';

create table if not exists walhook.webhook_decision (
  webhook_id integer not null,
  webhook text not null,
  doctype text not null,
  docname text,
  docevent text not null,
  delivery_id text not null,
  lsn pg_lsn not null,
  xid bigint not null,
  commit_time timestamptz not null,
  reason text not null,
  decided_at timestamptz not null default now()
);
create index if not exists webhook_decision_document_idx on walhook.webhook_decision (webhook_id, docname);
create index if not exists webhook_decision_decided_at_idx on walhook.webhook_decision using brin (decided_at);
comment on table walhook.webhook_decision is
  'Changes for which a webhook with log_decisions did not fire. Written with the cursor, so each stands here once; kept for a day.';
comment on column walhook.webhook_decision.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_decision.webhook is 'Its name.';
comment on column walhook.webhook_decision.doctype is 'The table.';
comment on column walhook.webhook_decision.docname is 'Primary key of the row as text.';
comment on column walhook.webhook_decision.docevent is 'What happened.';
comment on column walhook.webhook_decision.delivery_id is 'The webhook-id that it would have had.';
comment on column walhook.webhook_decision.lsn is 'Commit LSN of the change.';
comment on column walhook.webhook_decision.xid is 'Its transaction.';
comment on column walhook.webhook_decision.commit_time is 'When it was committed.';
comment on column walhook.webhook_decision.reason is 'Why nothing was sent.';
comment on column walhook.webhook_decision.decided_at is 'When that was decided.';

create or replace function walhook.trim_decisions(keep interval default '24 hours') returns bigint
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  gone bigint;
begin
  delete from walhook.webhook_decision d where d.decided_at < now() - keep;
  get diagnostics gone = row_count;
  return gone;
end $$;
comment on function walhook.trim_decisions(interval) is 'Deletes decisions that are older than that. The bridge calls it each hour. Returns how many.';

-- What became of a document's changes ------------------------------------------------------------------------------------------

-- A view, since what stands in it runs as its owner, but asks for the rights of whoever looks. A row counts for the table that its
-- webhook watches, by OID: a name could be somebody else's.
create or replace view walhook.document_history with (security_barrier) as
  with visible as (
    select w.id, w.name, w.doctype, w.doctype_oid from walhook.webhook w
     where pg_catalog.has_table_privilege('walhook.webhook_request_log', 'SELECT')
        or (coalesce(pg_catalog.has_table_privilege(w.doctype_oid, 'SELECT'), false) and not pg_catalog.row_security_active(w.doctype_oid))
  )
  select v.doctype_oid, l.docname, v.id as webhook_id, v.name as webhook, l.docevent, l.delivery_id, l.lsn, l.commit_time, 'log' as source,
         l.outcome, l.attempt as attempts, null::timestamptz as due_at, l.sent_at as at, coalesce(l.error, case when l.status_code is not null then 'HTTP ' || l.status_code end) as reason
    from visible v join walhook.webhook_request_log l on l.doctype = v.doctype and l.webhook_id = v.id
  union all
  select v.doctype_oid, q.docname, v.id, v.name, q.docevent, q.delivery_id, q.commit_lsn, q.commit_time, 'queue',
         case when q.is_dead then 'dead' when q.kind = 'undecided' then 'undecided' when q.due_at is null then 'behind' else 'due' end,
         q.attempts, q.due_at, q.queued_at, q.last_error
    from visible v join walhook.webhook_queue q on q.webhook_id = v.id
  union all
  select v.doctype_oid, d.docname, v.id, v.name, d.docevent, d.delivery_id, d.lsn, d.commit_time, 'decision', 'declined', 0, null, d.decided_at, d.reason
    from visible v join walhook.webhook_decision d on d.webhook_id = v.id;
comment on view walhook.document_history is
  'What log, queue and decisions say of documents of tables that whoever asks may read (of all of them where the log may be read): what walhook.why reads. Ask for doctype_oid and docname.';
comment on column walhook.document_history.doctype_oid is 'OID of the table.';
comment on column walhook.document_history.docname is 'Primary key of the row as text.';
comment on column walhook.document_history.webhook_id is 'Number of the webhook.';
comment on column walhook.document_history.webhook is 'Its name now.';
comment on column walhook.document_history.docevent is 'What happened.';
comment on column walhook.document_history.delivery_id is 'The webhook-id.';
comment on column walhook.document_history.lsn is 'Commit LSN of the change.';
comment on column walhook.document_history.commit_time is 'When it was committed.';
comment on column walhook.document_history.source is 'log, queue or decision.';
comment on column walhook.document_history.outcome is 'Of the log its outcome; of the queue dead, undecided, behind (an earlier one of its document) or due; declined.';
comment on column walhook.document_history.attempts is 'Number of the attempt; of the queue: attempts made.';
comment on column walhook.document_history.due_at is 'Of the queue: when it is tried next.';
comment on column walhook.document_history.at is 'When it was sent, queued or decided.';
comment on column walhook.document_history.reason is 'The error, or the reason.';

-- What stands in a webhook's way now --------------------------------------------------------------------------------------------

create or replace view walhook.webhook_obstacle with (security_barrier) as
  select w.id as webhook_id, w.name as webhook, w.doctype_oid, o.obstacle
    from walhook.webhook w
    left join walhook.webhook_state s on s.webhook_id = w.id
   cross join walhook.bridge b
   cross join lateral (values
      (case when not w.enabled then 'it is disabled (changed ' || w.modified_at || '): new events pass by, open deliveries wait' end),
      (case when s.state <> 'ok' then 'it is ' || s.state || coalesce(': ' || case when pg_catalog.has_column_privilege('walhook.webhook_state', 'last_error', 'SELECT')
        or pg_catalog.has_table_privilege(w.doctype_oid, 'SELECT') then s.last_error end, '') end),
      (case when s.breaker <> 'closed' then 'its breaker is ' || s.breaker || coalesce(' until ' || s.breaker_until, '') || ': its receiver fails' end),
      (case when not exists (select from walhook.published m where m.relation = w.doctype_oid and not m.is_broken)
        then 'its table is not published: save the webhook again' end),
      (case when b.gap_kind is not null then 'the bridge has stopped at a gap (' || b.gap_kind || '): ' || coalesce(b.remedy, 'walhook accept-gap') end),
      (case when b.state <> 'running' then 'the bridge is ' || b.state || coalesce(': ' || b.last_error, '')
            when not exists (select from pg_catalog.pg_replication_slots r where r.slot_name = b.slot_name and r.active)
            then 'no bridge is connected to the slot: walhook run' end)) o (obstacle)
   where o.obstacle is not null;
comment on view walhook.webhook_obstacle is 'What keeps a webhook from sending now, one row each; none: nothing does.';
comment on column walhook.webhook_obstacle.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_obstacle.webhook is 'Its name.';
comment on column walhook.webhook_obstacle.doctype_oid is 'OID of its table.';
comment on column walhook.webhook_obstacle.obstacle is 'In words, with the remedy where there is one.';

-- walhook.why --------------------------------------------------------------------------------------------------------------------

create or replace function walhook.why(doctype regclass, docname text, since timestamptz default now() - interval '7 days')
  returns table (webhook text, docevent text, verdict text, reason text, commit_time timestamptz, attempts integer, next_attempt_at timestamptz,
    delivery_id text, lsn pg_lsn)
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  watched constant oid := coalesce(pg_partition_root(why.doctype), why.doctype);
  paused integer[] := '{}';
begin
  if not has_table_privilege('walhook.webhook_request_log', 'SELECT')
    and (not has_table_privilege(watched, 'SELECT') or row_security_active(watched)) then
    raise exception 'you may not read table %', why.doctype using errcode = 'insufficient_privilege',
      hint = 'walhook.why shows what was sent of its rows: it takes SELECT on the table, without row-level security, or membership in walhook_analyst.';
  end if;
  if to_regclass('walhook.paused') is not null then
    paused := array(select p.webhook_id from walhook.paused p);
  end if;

  return query
  with history as (
    select h.webhook_id, h.webhook, h.docevent, h.delivery_id, h.lsn, h.commit_time, h.source, h.outcome, h.attempts, h.due_at, h.at, h.reason
      from walhook.document_history h
     where h.doctype_oid = watched and h.docname = why.docname
  ), latest as (
    -- The queue knows better than the log, and a later row better than an earlier one.
    select distinct on (h.delivery_id) h.webhook_id, h.webhook, h.docevent, h.delivery_id, h.lsn, h.commit_time, h.outcome, h.attempts, h.due_at, h.reason
      from history h where h.commit_time >= since or h.commit_time is null
     order by h.delivery_id, (h.source = 'queue') desc, h.at desc, h.attempts desc
  )
  select l.webhook, l.docevent,
         case l.outcome when 'delivered' then 'sent' when 'dead' then 'given up'
           when 'due' then 'waiting' when 'behind' then 'waiting' when 'undecided' then 'waiting' when 'retry' then 'waiting' when 'blocked' then 'waiting'
           else 'not sent' end,
         case l.outcome
           when 'delivered' then l.reason
           when 'dead' then concat_ws('; ', 'every attempt failed, the last one with ' || l.reason, 'select walhook.replay_dead_letters(…)')
           when 'due' then concat_ws('; ', case when l.due_at <= now() then 'its next attempt is due' else 'its next attempt is due at ' || l.due_at end,
             'the last one failed with ' || l.reason, case when l.webhook_id = any (paused) then 'its webhook is paused' end)
           when 'behind' then concat_ws('; ', 'an earlier delivery of this document has not ended', case when l.webhook_id = any (paused) then 'its webhook is paused' end)
           when 'undecided' then 'its condition could not be asked: ' || l.reason
           else coalesce(l.outcome || ': ' || l.reason, l.outcome) end,
         l.commit_time, l.attempts, l.due_at, l.delivery_id, l.lsn
    from latest l
   order by l.lsn desc nulls last, l.delivery_id;

  -- What holds for changes of which nothing stands anywhere.
  return query
  select w.name, w.webhook_docevent, 'now',
         concat_ws('; ',
           (select string_agg(o.obstacle, '; ' order by o.obstacle) from walhook.webhook_obstacle o where o.webhook_id = w.id),
           case when w.id = any (paused) then 'it is paused: its deliveries wait' end,
           'it watches ' || w.webhook_docevent || ': other events of this table make nothing',
           case when w.has_condition and w.log_decisions then 'where its condition does not hold, that stands here for a day'
                when w.has_condition then 'its condition may not have held: that is not kept (log_decisions = true keeps it); walhook.preview asks it about the row as it is' end,
           case when w.modified_at > since then 'what was committed before ' || w.modified_at || ' met it as it was then, or not at all where it is new' end),
         null::timestamptz, null::integer, null::timestamptz, null::text, null::pg_lsn
    from walhook.webhook_brief w where w.doctype_oid = watched
   order by w.name;
  if not found then
    return query select null::text, null::text, 'now', format('no webhook watches table %s', watched::regclass),
      null::timestamptz, null::integer, null::timestamptz, null::text, null::pg_lsn;
  end if;
end $$;
comment on function walhook.why(regclass, text, timestamptz) is
  'For a document, the newest change first: each delivery of each webhook with verdict (sent, waiting, not sent, given up) and reason; then for each webhook of the table a row "now", which says what would keep it from sending. Asks for the caller''s right to read the table.';

create or replace view walhook.webhook_brief as
  select w.id, w.name, w.doctype_oid, w.webhook_docevent, w.condition is not null as has_condition, w.log_decisions, w.modified_at from walhook.webhook w;
comment on view walhook.webhook_brief is 'Of each webhook what walhook.why says of it.';
comment on column walhook.webhook_brief.id is 'Number of the webhook.';
comment on column walhook.webhook_brief.name is 'Its name.';
comment on column walhook.webhook_brief.doctype_oid is 'OID of its table.';
comment on column walhook.webhook_brief.webhook_docevent is 'Its doc events.';
comment on column walhook.webhook_brief.has_condition is 'Whether it has a condition.';
comment on column walhook.webhook_brief.log_decisions is 'Whether decisions of its condition are kept.';
comment on column walhook.webhook_brief.modified_at is 'When it was changed last.';

-- Rights ---------------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.trim_decisions(interval), walhook.why(regclass, text, timestamptz) from public;
do $$
declare
  reader text;
begin
  foreach reader in array array['walhook_admin', 'walhook_analyst'] loop
    perform walhook.grant_to_roles(array[
      'grant select on walhook.document_history, walhook.webhook_obstacle, walhook.webhook_brief to ' || reader,
      'grant execute on function walhook.why(regclass, text, timestamptz) to ' || reader]);
  end loop;
  perform walhook.grant_to_roles(array[
    'grant select, insert on walhook.webhook_decision to walhook_bridge',
    'grant select on walhook.document_history, walhook.webhook_obstacle, walhook.webhook_brief to walhook_bridge',
    'grant select on walhook.webhook_decision to walhook_analyst',
    'grant select (log_decisions) on walhook.webhook to walhook_analyst',
    'grant execute on function walhook.trim_decisions(interval) to walhook_bridge']);
end $$;

insert into walhook.migration (version, name) values (146, 'why') on conflict do nothing;

commit;
