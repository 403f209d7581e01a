-- Walhook 155: asking the running bridge. What a webhook would send for a document that exists now, and a test that is sent.
--
-- A question goes through the WAL as a logical message, which is not bound to the end of its transaction; the answer is a
-- row that the bridge commits. Anybody may write such a message: it decides nothing. Who may ask stands in walhook.question,
-- and nobody else is given the answer.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create unlogged table if not exists walhook.question (
  token uuid constraint question_pkey primary key,
  kind text not null constraint question_kind_is_known check (kind in ('preview', 'test')),
  webhook_id integer not null,
  content json,
  asked_by regrole not null,
  asked_at timestamptz not null default now()
);
comment on table walhook.question is 'What was asked of the bridge and is not settled yet. Written by walhook.preview and walhook.send_test; nobody but the bridge reads it.';
comment on column walhook.question.token is 'By which the answer is found.';
comment on column walhook.question.kind is 'preview: what would be sent; test: send it.';
comment on column walhook.question.webhook_id is 'Number of the webhook.';
comment on column walhook.question.content is 'The document and all else that a test is made of; NULL where it went through the WAL.';
comment on column walhook.question.asked_by is 'Who asked; could be the webhook''s author. Filled by trigger.';
comment on column walhook.question.asked_at is 'When. Filled by trigger.';

create unlogged table if not exists walhook.answer (
  token uuid constraint answer_pkey primary key,
  answer json not null,
  answered_at timestamptz not null default now()
);
comment on table walhook.answer is 'Answers of the bridge, until they are taken, or for a minute. Nobody but the bridge reads them.';
comment on column walhook.answer.token is 'The question''s.';
comment on column walhook.answer.answer is 'What it says.';
comment on column walhook.answer.answered_at is 'When it was written.';

create sequence if not exists walhook.doorbell;
comment on sequence walhook.doorbell is
  'Raised with each question before PostgreSQL 17, where a logical message is not flushed by itself: the bridge looks at it four times a second and flushes. A sequence, since its value is seen before the commit.';

do $$
begin
  create type walhook.previewed as (
    docname text, event text, fires boolean, condition_holds boolean, reason text,
    method text, url text, headers json, body text, signature text, id text, sent_at timestamptz);
exception when duplicate_object then
  null;
end $$;
comment on type walhook.previewed is 'What a webhook would send for one document, see walhook.preview.';
comment on column walhook.previewed.docname is 'The document.';
comment on column walhook.previewed.event is 'The doc event.';
comment on column walhook.previewed.fires is 'Whether this event would be sent now.';
comment on column walhook.previewed.condition_holds is 'Whether the condition holds; NULL where there is none, or nobody can say.';
comment on column walhook.previewed.reason is 'Why it does not fire, or what is wrong; NULL where nothing is to be said.';
comment on column walhook.previewed.method is 'HTTP method.';
comment on column walhook.previewed.url is 'URL.';
comment on column walhook.previewed.headers is 'Headers by name, in their order, signatures among them.';
comment on column walhook.previewed.body is 'The exact body, UTF-8.';
comment on column walhook.previewed.signature is 'The signature, of the first of its formats that is there; NULL where nothing is signed.';
comment on column walhook.previewed.id is 'The delivery''s id; webhook-id but for batches.';
comment on column walhook.previewed.sent_at is 'The moment that webhook-timestamp tells.';

-- Who may ask -----------------------------------------------------------------------------------------------------------

create or replace function walhook.set_asker() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  w record;
  a record;
begin
  new.asked_by := quote_ident(current_user)::regrole;
  new.asked_at := now();
  select p.name, p.doctype_oid into w from walhook.webhook p where p.id = new.webhook_id;
  select p.problem, p.remedy into a from walhook.author_problem(new.asked_by, w.doctype_oid) p;
  if w.name is null or a.problem is not null then
    -- What an answer shows, and what it signs, is for those alone who could say what this webhook sends.
    raise exception 'webhook "%": %', w.name, coalesce(a.problem, 'there is no such webhook') using errcode = 'insufficient_privilege',
      detail = 'Who asks what a webhook sends must be able to be its author.', hint = coalesce(a.remedy, 'Names stand in walhook.webhook.');
  end if;
  return new;
end $$;
comment on function walhook.set_asker() is 'Trigger: writes down who asks, whatever the statement says, and refuses who could not be the webhook''s author.';

create or replace trigger question_10_asker before insert on walhook.question
  for each row execute function walhook.set_asker();

-- The documents ---------------------------------------------------------------------------------------------------------

create or replace function walhook.key_condition(doctype_oid oid, docname text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  keys record;
  texts text[] := array[docname];
begin
  select array_agg(a.attname order by k.place) as names, array_agg(format_type(a.atttypid, a.atttypmod) order by k.place) as types into keys
    from pg_index i
   cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
   where i.indrelid = doctype_oid and i.indisprimary and k.place <= i.indnkeyatts;
  if keys.names is null then
    raise exception '% has no primary key, so its documents have no name', doctype_oid::regclass using errcode = 'invalid_parameter_value',
      hint = 'Choose rows by a condition: condition => ''doc.total > 100''.';
  end if;
  if cardinality(keys.names) > 1 then
    begin
      texts := array(select e.value from jsonb_array_elements_text(docname::jsonb) with ordinality as e (value, n) order by e.n);
    exception when others then
      texts := '{}';
    end;
    if cardinality(texts) <> cardinality(keys.names) then
      raise exception '% is no name of a document of %', quote_literal(docname), doctype_oid::regclass using errcode = 'invalid_parameter_value',
        hint = format('Its key is (%s): the name is a JSON array of their texts, for example %s.', array_to_string(keys.names, ', '),
          quote_literal(jsonb_build_array(variadic (select array_agg(n::text) from generate_subscripts(keys.names, 1) n))));
    end if;
  end if;
  return (select string_agg(format('doc.%I = %L::%s', keys.names[n], texts[n], keys.types[n]), ' and ') from generate_subscripts(keys.names, 1) n);
end $$;
comment on function walhook.key_condition(oid, text) is 'The document of a name, as a condition over doc.';

create or replace function walhook.question_about(webhook text, docname text, event text, condition text, old jsonb, max_rows integer, path text) returns jsonb
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
  -- Values read as they do in the stream.
  set timezone = 'UTC' set datestyle = 'ISO, YMD' set intervalstyle = 'postgres' set extra_float_digits = 1 set bytea_output = 'hex' set lc_monetary = 'C'
as $$
declare
  known constant text[] := '{after_insert,on_update,on_change,on_trash,on_submit,on_cancel,on_update_after_submit,on_truncate}';
  streams_stored constant boolean := current_setting('server_version_num')::integer >= 180000;
  w record;
  c record;
  problem record;
  chosen text;
  columns jsonb;
  docs text;
  olds text;
  former jsonb := coalesce(old, '{}');
  filter text;
  key_order text;
  rows_ jsonb;
  unknown text;
begin
  select p.id, p.name, p.doctype_oid, p.webhook_docevent, p.enabled, p.author into w from walhook.webhook p where p.name = question_about.webhook;
  if w.id is null then
    raise exception 'there is no webhook "%"', webhook using errcode = 'no_data_found', hint = 'Names stand in walhook.webhook.';
  end if;
  select t.oid, t.relname, n.nspname, t.relreplident into c from pg_class t join pg_namespace n on n.oid = t.relnamespace where t.oid = w.doctype_oid;
  select p.problem, p.remedy into problem from walhook.author_problem(quote_ident(current_user)::regrole, w.doctype_oid) p;
  if problem.problem is not null then
    raise exception 'webhook "%": %', w.name, problem.problem using errcode = 'insufficient_privilege',
      detail = 'Who asks what a webhook sends must be able to be its author.', hint = problem.remedy;
  end if;
  chosen := coalesce(lower(btrim(event)), split_part(w.webhook_docevent, ', ', 1));
  if chosen <> all (known) then
    raise exception 'there is no doc event "%"', chosen using errcode = 'invalid_parameter_value',
      hint = coalesce('Did you mean ' || walhook.nearest_event(chosen) || '? ', '') || 'There are ' || array_to_string(known, ', ') || '.';
  end if;
  if docname is not null and condition is not null then
    raise exception 'give a docname or a condition, not both' using errcode = 'invalid_parameter_value';
  end if;
  select k.key into unknown from jsonb_object_keys(former) as k (key)
   where not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = k.key and a.attnum > 0 and not a.attisdropped) limit 1;
  if unknown is not null then
    raise exception 'old: % has no column "%"', c.oid::regclass, unknown using errcode = 'undefined_column',
      hint = 'It has ' || (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) || '.';
  end if;
  -- Such an event is told by docstatus before and after.
  if chosen in ('on_submit', 'on_cancel', 'on_update_after_submit') and not former ? 'docstatus'
    and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'docstatus' and not a.attisdropped) then
    former := former || jsonb_build_object('docstatus', case chosen when 'on_submit' then 0 else 1 end);
  end if;

  -- As the stream has them: stored generated columns since 18, virtual ones never.
  select jsonb_agg(jsonb_build_object('name', a.attname, 'typeOid', a.atttypid::bigint) order by a.attnum),
         string_agg(format('case when pg_catalog.num_nonnulls(doc.%1$I) operator(pg_catalog.=) 1 then pg_catalog.format(''%%s'', doc.%1$I) end', a.attname), ', ' order by a.attnum),
         string_agg(format('case when pg_catalog.num_nonnulls(walhook_old.%1$I) operator(pg_catalog.=) 1 then pg_catalog.format(''%%s'', walhook_old.%1$I) end', a.attname), ', ' order by a.attnum)
    into columns, docs, olds
    from pg_attribute a
   where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and (a.attgenerated = '' or (a.attgenerated = 's' and streams_stored));

  if chosen = 'on_truncate' then
    rows_ := '[{"row": null}]';
  else
    key_order := (select string_agg(format('doc.%I', a.attname), ', ' order by k.place)
      from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
     where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts);
    filter := case when docname is not null then walhook.key_condition(c.oid, docname) else coalesce(condition, 'true') end;
    if docname is null and condition is null then
      key_order := replace(key_order, ', ', ' desc, ') || ' desc';
    end if;
    perform set_config('search_path', path, true);
    execute format(
      $statement$select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('row', pg_catalog.to_jsonb(q.docs), 'old', pg_catalog.to_jsonb(q.olds), 'leaf', q.leaf, 'xid', q.xid))
        from (select array[%1$s]::pg_catalog.text[] as docs,
                     (select array[%2$s]::pg_catalog.text[] from pg_catalog.jsonb_populate_record(doc.*, $1) as walhook_old) as olds,
                     doc.tableoid::pg_catalog.int8 as leaf, doc.xmin::pg_catalog.text::pg_catalog.int8 as xid
                from %3$I.%4$I as doc
               where (
%5$s
) %6$s limit $2) as q$statement$,
      docs, olds, c.nspname, c.relname, filter, 'order by ' || key_order, case when docname is null and condition is null then 1 else max_rows end)
      into rows_ using former, case when docname is null and condition is null then 1 else greatest(max_rows, 0) end;
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    if rows_ is null and docname is not null then
      raise exception '% has no document %', c.oid::regclass, quote_literal(docname) using errcode = 'no_data_found',
        detail = 'Only rows that exist now can be asked about.',
        hint = 'A name is the value of the primary key. Without one, walhook.preview takes a row that there is.';
    end if;
    -- How much of a row before the stream would carry is the leaf's to say.
    rows_ := (select jsonb_agg(r.value - 'leaf' || jsonb_build_object('identity', l.relreplident, 'identityColumns', coalesce((
        select jsonb_agg(a.attname) from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])
         where i.indrelid = l.oid and case l.relreplident when 'd' then i.indisprimary and i.indimmediate when 'i' then i.indisreplident else false end), '[]')) order by r.n)
      from jsonb_array_elements(coalesce(rows_, '[]')) with ordinality as r (value, n) join pg_class l on l.oid = (r.value ->> 'leaf')::oid);
  end if;
  return jsonb_build_object(
    'webhookId', w.id, 'event', chosen, 'isWatched', chosen = any (string_to_array(w.webhook_docevent, ', ')), 'isEnabled', w.enabled,
    'held', coalesce((select p.problem from walhook.author_problem(w.author, w.doctype_oid) p),
                     (select s.last_error from walhook.webhook_state s where s.webhook_id = w.id and s.state = 'held')),
    'hasOld', old is not null,
    'relation', jsonb_build_object('oid', c.oid::bigint, 'schema', c.nspname, 'name', c.relname, 'columns', columns),
    'rows', coalesce(rows_, '[]'));
end $$;
comment on function walhook.question_about(text, text, text, text, jsonb, integer, text) is
  'The rows that are asked about, read as the caller, with all that is needed to make them a doc event: values as texts as the stream has them. Asked also by `walhook preview`.';

create or replace function walhook.facts_of_delivery(webhook_id integer, delivery_id text, out lsn pg_lsn, out xid bigint, out commit_time timestamptz)
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select f.lsn, f.xid, f.commit_time from (
    select l.lsn, l.xid, l.commit_time from walhook.webhook_request_log l
     where l.delivery_id = facts_of_delivery.delivery_id and l.webhook_id = facts_of_delivery.webhook_id
    union all
    select q.commit_lsn, q.xid, q.commit_time from walhook.webhook_queue q
     where q.delivery_id = facts_of_delivery.delivery_id and q.webhook_id = facts_of_delivery.webhook_id) f limit 1
$$;
comment on function walhook.facts_of_delivery(integer, text) is 'Which commit a delivery of a webhook came from.';

create or replace function walhook.whole_question(webhook text, docname text, event text, condition text, old jsonb, max_rows integer, path text,
    id text, sent_at timestamptz, lsn pg_lsn, xid bigint, commit_time timestamptz) returns jsonb
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  question jsonb := walhook.question_about(webhook, docname, event, condition, old, case when id is null then max_rows else 1 end, path);
  facts record;
begin
  select f.lsn, f.xid, f.commit_time into facts from walhook.facts_of_delivery((question ->> 'webhookId')::integer, id) f where id is not null;
  return question || jsonb_build_object(
    'id', id,
    'sentAtMs', floor(extract(epoch from coalesce(sent_at, clock_timestamp())) * 1000)::bigint,
    'lsn', coalesce(lsn, facts.lsn, pg_current_wal_insert_lsn()),
    'xid', coalesce(xid, facts.xid),
    'commitTimeUs', (extract(epoch from coalesce(commit_time, facts.commit_time, now())) * 1000000)::bigint::text);
end $$;
comment on function walhook.whole_question(text, text, text, text, jsonb, integer, text, text, timestamptz, pg_lsn, bigint, timestamptz) is
  'A question with the facts of its commit: as given, as the log has them of the delivery, or of now.';

-- Asking ----------------------------------------------------------------------------------------------------------------

create or replace function walhook.require_bridge() returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  b record;
begin
  select r.state, r.last_error, r.updated_at, coalesce(s.active, false) as is_active into b
    from walhook.bridge r left join pg_replication_slots s on s.slot_name = r.slot_name;
  if b.state = 'running' and b.is_active then return; end if;
  raise exception 'no bridge is at work' using errcode = 'WH503',
    detail = format('Its state is %s%s.', case when b.state = 'running' then 'running, but nobody reads its replication slot' else b.state end,
      case when b.state <> 'running' and b.last_error is not null then ': ' || rtrim(b.last_error, '.') else '' end),
    hint = 'Start it: walhook run. Without one, `walhook preview` on the command line shows the same.';
end $$;
comment on function walhook.require_bridge() is 'Fails where no bridge is at work: the server itself says whether one reads the slot.';

create or replace function walhook.emit(message jsonb, is_transactional boolean) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  if is_transactional or current_setting('server_version_num')::integer < 170000 then
    perform pg_logical_emit_message(is_transactional, 'walhook', convert_to(message::text, 'UTF8'));
    -- The bridge flushes what is not bound to a commit.
    if not is_transactional then perform nextval('walhook.doorbell'); end if;
  else
    execute 'select pg_logical_emit_message(false, ''walhook'', $1, true)' using convert_to(message::text, 'UTF8');
  end if;
end $$;
comment on function walhook.emit(jsonb, boolean) is 'Writes a logical message for the bridge into the WAL: at once, or as a part of the transaction.';

create or replace function walhook.ask_bridge(token uuid, question jsonb, wait interval) returns json
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  started constant timestamptz := clock_timestamp();
  webhook_id integer;
  found json;
  nap double precision := 0.002;
  behind numeric;
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception 'an answer is never seen in a transaction that is %', upper(current_setting('transaction_isolation')) using errcode = 'active_sql_transaction',
      hint = 'Ask in READ COMMITTED: begin isolation level read committed;';
  end if;
  select q.webhook_id into webhook_id from walhook.question q where q.token = ask_bridge.token and q.kind = 'preview';
  if webhook_id is null or webhook_id <> (question ->> 'webhookId')::integer then
    raise exception 'there is no such question' using errcode = 'insufficient_privilege', hint = 'Ask by walhook.preview.';
  end if;
  if octet_length(question::text) > 4 * 1024 * 1024 then
    raise exception 'the documents have % together, too much for a question', pg_size_pretty(octet_length(question::text)::bigint) using errcode = 'program_limit_exceeded',
      hint = 'Ask about fewer: max_rows => 1. `walhook preview` on the command line takes any.';
  end if;
  perform walhook.require_bridge();
  perform walhook.emit(jsonb_build_object('kind', 'preview', 'token', token, 'untilMs', floor(extract(epoch from started + wait) * 1000)::bigint, 'question', question), false);
  loop
    perform pg_sleep(nap);
    select a.answer into found from walhook.answer a where a.token = ask_bridge.token;
    exit when found is not null or clock_timestamp() > started + wait;
    nap := least(nap * 1.2, 0.05);
  end loop;
  delete from walhook.answer a where a.token = ask_bridge.token;
  delete from walhook.question q where q.token = ask_bridge.token;
  if found is null then
    perform walhook.require_bridge();
    select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), s.confirmed_flush_lsn) into behind
      from walhook.bridge b join pg_replication_slots s on s.slot_name = b.slot_name;
    raise exception 'the bridge is busy: it runs, and has not answered within %', wait using errcode = 'WH504',
      detail = format('It has %s of the write-ahead log before it.', pg_size_pretty(behind)),
      hint = 'Ask again, or wait longer: wait => ''10 s''. `walhook preview` on the command line needs no bridge.';
  elsif (found ->> 'webhookId')::integer is distinct from webhook_id then
    raise exception 'the answer is to another question' using errcode = 'insufficient_privilege';
  elsif found ->> 'error' is not null then
    raise exception 'the bridge could not answer: %', found ->> 'error' using errcode = 'WH500', hint = 'Its own log says more.';
  end if;
  return found;
end $$;
comment on function walhook.ask_bridge(uuid, jsonb, interval) is
  'Asks the running bridge and waits for its answer. Errors: WH503 no bridge is at work, WH504 it is busy, WH500 it could not answer.';

create or replace function walhook.preview(webhook text, docname text default null, event text default null, condition text default null, old jsonb default null,
    id text default null, sent_at timestamptz default null, lsn pg_lsn default null, xid bigint default null, commit_time timestamptz default null,
    max_rows integer default 10, wait interval default '2 s') returns setof walhook.previewed
  language plpgsql volatile security invoker
  -- No search_path of its own: the condition means what it means to the caller.
as $$
declare
  question pg_catalog.jsonb;
  token constant pg_catalog.uuid := pg_catalog.gen_random_uuid();
begin
  question := walhook.whole_question(webhook, docname, event, condition, old, max_rows, pg_catalog.current_setting('search_path'), id, sent_at, lsn, xid, commit_time);
  if pg_catalog.jsonb_array_length(question -> 'rows') operator(pg_catalog.=) 0 then return; end if;
  insert into walhook.question (token, kind, webhook_id) values (token, 'preview', (question ->> 'webhookId')::pg_catalog.int4);
  return query select (pg_catalog.json_populate_recordset(null::walhook.previewed, walhook.ask_bridge(token, question, wait) -> 'rows')).*;
end $$;
comment on function walhook.preview(text, text, text, text, jsonb, text, timestamptz, pg_lsn, bigint, timestamptz, integer, interval) is
  'What a webhook would send for a document, or for those that fit a condition over doc, at an event (its first one by default): whether it fires, and the exact request with its signature. Nothing is sent. old: columns before the change, {"status": "Draft"}; id, sent_at, lsn, xid, commit_time: of a delivery, to be compared with it (of one that stands in the log, id and sent_at suffice). The running bridge answers, within wait.';

create or replace function walhook.send_test(webhook text, docname text default null, event text default null, old jsonb default null) returns text
  language plpgsql volatile security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  delivery_id constant text := 'msg_' || substr(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 1, 48);
  token constant uuid := gen_random_uuid();
  question constant jsonb := walhook.whole_question(webhook, docname, event, null, old, 1, 'pg_catalog', delivery_id, null, null, null, null);
begin
  if jsonb_array_length(question -> 'rows') = 0 then
    raise exception 'webhook "%": its table has no row to test with', webhook using errcode = 'no_data_found', hint = 'Insert one; or event => ''on_truncate'', which has none.';
  end if;
  perform walhook.require_bridge();
  insert into walhook.question (token, kind, webhook_id, content) values (token, 'test', (question ->> 'webhookId')::integer, question);
  perform walhook.emit(jsonb_build_object('kind', 'test', 'token', token), true);
  return delivery_id;
end $$;
comment on function walhook.send_test(text, text, text, jsonb) is
  'Sends a webhook''s request for a document as a test, once, after the commit, whether its condition holds and it is enabled or not: with the header webhook-test: true, outside of all order. Returns the delivery_id, by which the log shows it with source = test.';

-- The bridge's side -------------------------------------------------------------------------------------------------------

create or replace function walhook.answer_question(token uuid, until_ms bigint, answer json) returns void
  language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  delete from walhook.answer a where a.answered_at < clock_timestamp() - interval '1 minute';
  delete from walhook.question q where q.asked_at < clock_timestamp() - interval '1 hour';
  insert into walhook.answer (token, answer, answered_at)
    select answer_question.token, answer_question.answer, clock_timestamp()
     where answer_question.token is not null and clock_timestamp() < to_timestamp(until_ms / 1000.0)
    on conflict do nothing;
$$;
comment on function walhook.answer_question(uuid, bigint, json) is 'Writes an answer, unless nobody waits for it any more, and clears up. For the bridge.';

create or replace function walhook.take_test(token uuid) returns json
  language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
  with taken as (
    delete from walhook.question q where q.token = take_test.token and q.kind = 'test'
    returning q.content, q.webhook_id, q.asked_at
  )
  select t.content from taken t
   where t.asked_at > clock_timestamp() - interval '5 minutes' and (t.content ->> 'webhookId')::integer = t.webhook_id
$$;
comment on function walhook.take_test(uuid) is 'Takes a test that somebody asked for, once; nothing where it is older than 5 minutes. For the bridge.';

revoke all on function walhook.set_asker(), walhook.key_condition(oid, text), walhook.question_about(text, text, text, text, jsonb, integer, text),
  walhook.facts_of_delivery(integer, text), walhook.whole_question(text, text, text, text, jsonb, integer, text, text, timestamptz, pg_lsn, bigint, timestamptz),
  walhook.require_bridge(), walhook.emit(jsonb, boolean), walhook.ask_bridge(uuid, jsonb, interval),
  walhook.preview(text, text, text, text, jsonb, text, timestamptz, pg_lsn, bigint, timestamptz, integer, interval),
  walhook.send_test(text, text, text, jsonb), walhook.answer_question(uuid, bigint, json), walhook.take_test(uuid) from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant insert on walhook.question to walhook_admin',
    'grant execute on function walhook.set_asker(), walhook.key_condition(oid, text), walhook.question_about(text, text, text, text, jsonb, integer, text), '
      'walhook.facts_of_delivery(integer, text), walhook.whole_question(text, text, text, text, jsonb, integer, text, text, timestamptz, pg_lsn, bigint, timestamptz), '
      'walhook.require_bridge(), walhook.emit(jsonb, boolean), walhook.ask_bridge(uuid, jsonb, interval), '
      'walhook.preview(text, text, text, text, jsonb, text, timestamptz, pg_lsn, bigint, timestamptz, integer, interval), '
      'walhook.send_test(text, text, text, jsonb) to walhook_admin',
    'grant select on walhook.question, walhook.answer to walhook_bridge',
    'grant select on sequence walhook.doorbell to walhook_bridge',
    'grant execute on function walhook.answer_question(uuid, bigint, json), walhook.take_test(uuid) to walhook_bridge'
  ]);
end $$;

insert into walhook.migration (version, name) values (155, 'preview') on conflict do nothing;

commit;
