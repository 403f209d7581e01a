-- Walhook 186: a preview says as well what would keep a delivery waiting: a pause, an open breaker.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

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
      select format('its breaker is %s%s, since its receiver fails: what it would send waits in the queue', replace(s.breaker, '_', ' '), ' until ' || s.breaker_until)
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

insert into walhook.migration (version, name) values (186, 'preview_waits') on conflict do nothing;

commit;
