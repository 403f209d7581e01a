-- Walhook 195: what is asked of the bridge is read with care, and mistakes in it are told in words.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.refuse_condition(subject text, condition text, doctype_oid oid, state text, failure text, failure_detail text, failure_hint text, about_old text)
  returns void
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception '%condition: %', coalesce(subject || ': ', ''),
    -- "argument of WHERE must be type boolean, not type integer": nobody wrote a WHERE.
    regexp_replace(failure, '^argument of WHERE', 'it') using errcode = state,
    detail = concat_ws(' ', nullif(failure_detail, ''), 'The condition is: ' || condition),
    hint = coalesce(case when state = '42P01' and failure ~ '"old"' then about_old end, walhook.condition_hint(condition, doctype_oid, state, failure), nullif(failure_hint, ''),
      case when left(state, 2) <> '42' then 'It fails for a row: have it take values like that one''s as well, for example by case, nullif or coalesce.' end,
      'It is a boolean SQL expression over doc, for example: doc.status = ''Paid''. Columns: '
        || (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = doctype_oid and a.attnum > 0 and not a.attisdropped) || '.');
end $$;
comment on function walhook.refuse_condition(text, text, oid, text, text, text, text, text) is
  'Raises what Postgres said of a condition that chooses rows, with the condition and what was likely meant, and without the query around it.';

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
  given text;
  state text;
  failure text;
  failure_detail text;
  failure_hint text;
begin
  perform walhook.require_table(webhook);
  select p.id, p.name, p.doctype_oid, p.webhook_docevent, p.enabled, p.author into w from walhook.webhook p where p.name = question_about.webhook;
  select t.oid, t.relname, n.nspname, t.relreplident into c from pg_class t join pg_namespace n on n.oid = t.relnamespace where t.oid = w.doctype_oid;
  select p.problem, p.remedy into problem from walhook.author_problem(quote_ident(current_user)::regrole, w.doctype_oid) p;
  if problem.problem is not null then
    raise exception 'webhook "%": %', w.name, problem.problem using errcode = 'insufficient_privilege',
      detail = 'Who asks what a webhook sends must be able to be its author.', hint = coalesce(problem.remedy, 'walhook.doctype says what is in the way of each table.');
  end if;
  chosen := coalesce(lower(btrim(event)), split_part(w.webhook_docevent, ', ', 1));
  if chosen <> all (known) then
    raise exception 'there is no doc event "%"', chosen using errcode = 'invalid_parameter_value',
      hint = coalesce('Did you mean ' || walhook.nearest_event(chosen) || '? ', '') || 'There are ' || array_to_string(known, ', ') || '.';
  end if;
  if docname is not null and condition is not null then
    raise exception 'give a docname or a condition, not both' using errcode = 'invalid_parameter_value';
  elsif btrim(condition, E' \t\r\n\f\v') = '' then
    raise exception 'the condition is empty' using errcode = 'invalid_parameter_value', hint = 'Leave it out for the newest row; true means any.';
  elsif coalesce(max_rows, 10) < 1 then
    raise exception 'max_rows is %', max_rows using errcode = 'invalid_parameter_value', hint = 'How many documents at most, for example 10.';
  elsif old is not null and jsonb_typeof(old) <> 'object' then
    raise exception 'old is no object' using errcode = 'invalid_parameter_value', hint = 'Columns and what they were before: {"status": "Draft"}.';
  end if;
  select k.key into unknown from jsonb_object_keys(former) as k (key)
   where not exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = k.key and a.attnum > 0 and not a.attisdropped) limit 1;
  if unknown is not null then
    raise exception 'old: % has no column "%"', c.oid::regclass, unknown using errcode = 'undefined_column',
      hint = 'It has ' || (select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) || '.';
  end if;
  select a.attname into unknown from pg_attribute a
   where a.attrelid = c.oid and former ? a.attname and a.attnum > 0 and not a.attisdropped and not walhook.is_plain_type(a.atttypid) limit 1;
  if unknown is not null then
    raise exception 'old: column "%" of % cannot be read here', unknown, c.oid::regclass using errcode = 'feature_not_supported',
      detail = 'Its type is a composite, or an array or range over a domain, whose checks are code of the table''s owner: they would run as you.',
      hint = 'Leave it out: it then is what it is now.';
  end if;
  -- Such an event is told by docstatus before and after.
  if chosen in ('on_submit', 'on_cancel', 'on_update_after_submit') and not former ? 'docstatus'
    and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'docstatus' and not a.attisdropped) then
    former := former || jsonb_build_object('docstatus', case chosen when 'on_submit' then 0 else 1 end);
  end if;

  -- By base types, so that no check of a domain runs for whoever asks.
  given := (select string_agg(format('%I %s', a.attname, format_type(walhook.base_type(a.atttypid), a.atttypmod)), ', ' order by a.attnum) from pg_attribute a
    where a.attrelid = c.oid and former ? a.attname and a.attnum > 0 and not a.attisdropped);
  if given is not null then
    begin
      execute format('select from pg_catalog.jsonb_to_record($1) as r (%s)', given) using former;
    exception when data_exception then
      failure := sqlerrm;
      raise exception 'old: %', failure using errcode = sqlstate, hint = 'Columns and what they were before, as JSON has them: {"status": "Draft"}.';
    end;
  end if;

  -- As the stream has them: stored generated columns since 18, virtual ones never.
  select jsonb_agg(jsonb_build_object('name', a.attname, 'typeOid', a.atttypid::bigint) order by a.attnum),
         string_agg(format('case when pg_catalog.num_nonnulls(doc.%1$I) operator(pg_catalog.=) 1 then pg_catalog.format(''%%s'', doc.%1$I) end', a.attname), ', ' order by a.attnum),
         string_agg(format('case when pg_catalog.num_nonnulls(%2$s.%1$I) operator(pg_catalog.=) 1 then pg_catalog.format(''%%s'', %2$s.%1$I) end', a.attname,
           case when former ? a.attname then 'walhook_old' else 'doc' end), ', ' order by a.attnum)
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
    -- Says of what is no name why it is none.
    if docname is not null then perform walhook.docname_as_logged(c.oid, docname); end if;
    filter := case when docname is not null then walhook.key_condition(c.oid, docname) else coalesce(condition, 'true') end;
    if docname is null and condition is null then
      key_order := replace(key_order, ', ', ' desc, ') || ' desc';
    end if;
    perform set_config('search_path', path, true);
    begin
      execute format(
      $statement$select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('row', pg_catalog.to_jsonb(q.docs), 'old', pg_catalog.to_jsonb(q.olds), 'leaf', q.leaf, 'xid', q.xid))
        from (select array[%1$s]::pg_catalog.text[] as docs,
                     (select array[%2$s]::pg_catalog.text[] from %7$s) as olds,
                     doc.tableoid::pg_catalog.int8 as leaf, doc.xmin::pg_catalog.text::pg_catalog.int8 as xid
                from %3$I.%4$I as doc
               where (
%5$s
) %6$s limit $2) as q$statement$,
        docs, olds, c.nspname, c.relname, filter, 'order by ' || key_order,
        case when given is null then 'pg_catalog.jsonb_typeof($1)' else format('pg_catalog.jsonb_to_record($1) as walhook_old (%s)', given) end)
        into rows_ using former, case when docname is null and condition is null then 1 else coalesce(max_rows, 10) end;
    exception when others then
      get stacked diagnostics state = returned_sqlstate, failure = message_text, failure_detail = pg_exception_detail, failure_hint = pg_exception_hint;
      if condition is null then raise; end if;
      perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
      perform walhook.refuse_condition(null, condition, c.oid, state, failure, failure_detail, failure_hint,
        'Rows are chosen as they are now, by doc alone; old => ''{"status": "Draft"}'' says what was before.');
    end;
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
  wait := coalesce(wait, '2 s');
  if wait not between interval '0 s' and interval '1 h' then
    raise exception 'wait is %', wait using errcode = 'invalid_parameter_value', hint = 'How long the bridge may take, up to 1 h: wait => ''10 s''.';
  end if;
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

create or replace function walhook.preview(webhook text, docname text default null, event text default null, condition text default null, old jsonb default null,
    id text default null, sent_at timestamptz default null, lsn pg_lsn default null, xid bigint default null, commit_time timestamptz default null,
    max_rows integer default 10, wait interval default '2 s') returns setof walhook.previewed
  language plpgsql volatile security invoker
  -- No search_path of its own: the condition means what it means to the caller.
as $$
declare
  question pg_catalog.jsonb;
  token constant pg_catalog.uuid := pg_catalog.gen_random_uuid();
  w record;
begin
  question := walhook.whole_question(webhook, docname, event, condition, old, max_rows, pg_catalog.current_setting('search_path'), id, sent_at, lsn, xid, commit_time);
  select h.created_at operator(pg_catalog.=) pg_catalog.now() as is_new, h.modified_at operator(pg_catalog.=) pg_catalog.now() as is_changed
    into w from walhook.webhook h where h.name operator(pg_catalog.=) preview.webhook;
  if w.is_new then
    raise exception 'webhook "%" is not committed yet', webhook using errcode = 'object_not_in_prerequisite_state',
      hint = 'The bridge answers, and sees what is committed: commit, then ask.';
  elsif w.is_changed then
    raise warning 'webhook "%" was changed in this transaction: this shows it as it was before', webhook using hint = 'The bridge answers, and sees what is committed.';
  end if;
  if pg_catalog.jsonb_array_length(question -> 'rows') operator(pg_catalog.=) 0 then return; end if;
  insert into walhook.question (token, kind, webhook_id) values (token, 'preview', (question ->> 'webhookId')::pg_catalog.int4);
  return query select (pg_catalog.json_populate_recordset(null::walhook.previewed, walhook.ask_bridge(token, question, wait) -> 'rows')).*;
end $$;

comment on function walhook.preview(text, text, text, text, jsonb, text, timestamptz, pg_lsn, bigint, timestamptz, integer, interval) is
  'What a webhook would send for a document, or for those that fit a condition over doc, at an event (its first one by default): whether it fires, and the exact request with its signature. Nothing is sent. old: columns before the change, {"status": "Draft"}; id, sent_at, lsn, xid, commit_time: of a delivery, to be compared with it (of one that stands in the log, id and sent_at suffice). The running bridge answers, within wait; it sees webhooks that are committed.';
comment on function walhook.send_test(text, text, text, jsonb) is
  'Sends a webhook''s request for a document as a test, once, after the commit, whether its condition holds and it is enabled or not: with the header webhook-test: true, outside of all order. Returns the delivery_id, by which the log shows it with source = test: how it went stands in walhook.log_figures, and in walhook.why for who may read the table.';

revoke all on function walhook.refuse_condition(text, text, oid, text, text, text, text, text) from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant execute on function walhook.refuse_condition(text, text, oid, text, text, text, text, text) to walhook_admin']);
end $$;

insert into walhook.migration (version, name) values (195, 'questions') on conflict do nothing;

commit;
