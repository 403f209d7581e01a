-- Walhook 162: sending the rows that exist through a webhook. The request, and the watermarks between which rows are read, are rows
-- of published tables: so the bridge knows which changes came before a row was read, and which after.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create table if not exists walhook.backfill_request (
  id bigint generated always as identity constraint backfill_request_pkey primary key,
  webhook_id integer not null,
  condition text,
  doctype_oid oid not null,
  columns json not null,
  wanted text not null default 'run' constraint backfill_request_wanted_is_known check (wanted in ('run', 'pause', 'cancel')),
  requested_by regrole not null,
  requested_at timestamptz not null default now()
);
alter table walhook.backfill_request replica identity full;
comment on table walhook.backfill_request is 'Backfills that were asked for. Written by walhook.backfill, walhook.pause_backfill, walhook.resume_backfill and walhook.cancel_backfill.';
comment on column walhook.backfill_request.id is 'Number of the backfill.';
comment on column walhook.backfill_request.webhook_id is 'Number of the webhook.';
comment on column walhook.backfill_request.condition is 'Which rows, as a condition over doc; NULL: all.';
comment on column walhook.backfill_request.doctype_oid is 'The table.';
comment on column walhook.backfill_request.columns is 'Its columns as the stream has them, and their types.';
comment on column walhook.backfill_request.wanted is 'run, pause or cancel.';
comment on column walhook.backfill_request.requested_by is 'Who asked; the rows are read with its rights. Filled by trigger.';
comment on column walhook.backfill_request.requested_at is 'When. Filled by trigger.';

create table if not exists walhook.backfill_watermark (
  backfill_id bigint constraint backfill_watermark_pkey primary key,
  token text not null,
  side text not null constraint backfill_watermark_side_is_known check (side in ('low', 'high')),
  written_at timestamptz not null default clock_timestamp(),
  xid bigint not null
);
alter table walhook.backfill_watermark replica identity full;
comment on table walhook.backfill_watermark is 'Between its two writes the rows of a chunk were read. Written by the bridge, which looks for them in the WAL.';
comment on column walhook.backfill_watermark.backfill_id is 'Number of the backfill.';
comment on column walhook.backfill_watermark.token is 'Of the chunk, at random: nobody else takes it for his own.';
comment on column walhook.backfill_watermark.side is 'low: before the rows are read; high: after.';
comment on column walhook.backfill_watermark.written_at is 'When.';
comment on column walhook.backfill_watermark.xid is 'The transaction that wrote it.';

create table if not exists walhook.backfill_state (
  backfill_id bigint constraint backfill_state_pkey primary key,
  state text not null default 'running' constraint backfill_state_is_known check (state in ('running', 'done', 'cancelled', 'failed')),
  last_key json,
  until_key json,
  pending json not null default '[]',
  rows_estimated bigint,
  rows_done bigint not null default 0,
  rows_sent bigint not null default 0,
  error text,
  started_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
comment on table walhook.backfill_state is 'How far each backfill is, written by the bridge with the deliveries of each chunk; see walhook.backfill_progress.';
comment on column walhook.backfill_state.backfill_id is 'Number of the backfill.';
comment on column walhook.backfill_state.state is 'running, done, cancelled, or failed: see error.';
comment on column walhook.backfill_state.last_key is 'Rows up to this key are done, but for pending ones.';
comment on column walhook.backfill_state.until_key is 'The last key that there was at the start.';
comment on column walhook.backfill_state.pending is 'Keys of rows that changed while they were read, and are read again.';
comment on column walhook.backfill_state.rows_estimated is 'How many rows there were at the start.';
comment on column walhook.backfill_state.rows_done is 'How many of them are done: sent, or not meant by the webhook''s condition, or overtaken by a change of their own.';
comment on column walhook.backfill_state.rows_sent is 'How many deliveries came of it.';
comment on column walhook.backfill_state.error is 'Why it failed.';
comment on column walhook.backfill_state.started_at is 'When the bridge began.';
comment on column walhook.backfill_state.updated_at is 'When the last chunk became durable.';

create or replace trigger backfill_request_10_requester before insert on walhook.backfill_request
  for each row execute function walhook.set_requester();
create or replace trigger backfill_request_00_truncate before truncate on walhook.backfill_request
  for each statement execute function walhook.refuse_truncate();
create or replace trigger backfill_watermark_00_truncate before truncate on walhook.backfill_watermark
  for each statement execute function walhook.refuse_truncate();

create or replace function walhook.backfill_source(doctype_oid oid, condition text) returns text
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  streams_stored constant boolean := current_setting('server_version_num')::integer >= 180000;
  source text;
  texts text;
  keys text;
  descending text;
  after text;
  until text;
  wanted text;
begin
  source := (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = doctype_oid);
  select string_agg(format('case when pg_catalog.num_nonnulls(doc.%1$I) operator(pg_catalog.=) 1 then pg_catalog.format(''%%s'', doc.%1$I) end', a.attname), ', ' order by a.attnum)
    into texts from pg_attribute a
   where a.attrelid = doctype_oid and a.attnum > 0 and not a.attisdropped and (a.attgenerated = '' or (a.attgenerated = 's' and streams_stored));
  select string_agg(format('doc.%I', a.attname), ', ' order by k.place), string_agg(format('doc.%I desc', a.attname), ', ' order by k.place),
         string_agg(format('($2 #>> ''{after,%s}'')::%s', k.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place),
         string_agg(format('($2 #>> ''{until,%s}'')::%s', k.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place),
         string_agg(format('(walhook_key.value ->> %s)::%s', k.place - 1, format_type(a.atttypid, a.atttypmod)), ', ' order by k.place)
    into keys, descending, after, until, wanted
    from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
   where i.indrelid = doctype_oid and i.indisprimary and k.place <= i.indnkeyatts;
  if keys is null then return null; end if;
  return format($template$#variable_conflict use_column
begin
  case $1
  when 'first' then return query select array[%2$s]::pg_catalog.text[] from %1$s as doc where (%3$s) and row(%4$s) <= row(%7$s) order by %4$s limit 500;
  when 'next' then return query select array[%2$s]::pg_catalog.text[] from %1$s as doc where (%3$s) and row(%4$s) > row(%6$s) and row(%4$s) <= row(%7$s) order by %4$s limit 500;
  when 'keys' then return query select array[%2$s]::pg_catalog.text[] from %1$s as doc where (%3$s) and row(%4$s) in (
    select %8$s from pg_catalog.jsonb_array_elements($2) as walhook_key) order by %4$s;
  when 'last' then return query select array[%2$s]::pg_catalog.text[] from %1$s as doc where (%3$s) order by %5$s limit 1;
  when 'count' then return query select array[pg_catalog.count(*)::pg_catalog.text] from %1$s as doc where (%3$s);
  end case;
end$template$, source, texts, E'(\n' || coalesce(condition, 'true') || E'\n)', keys, descending, after, until, wanted);
end $$;
comment on function walhook.backfill_source(oid, text) is 'The body of the function that reads a table for a backfill, in the order of its primary key, values as texts as the stream has them; NULL where there is no key.';

create or replace function walhook.create_backfill_function(number bigint, doctype_oid oid, condition text, path text) returns void
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  caller constant text := (select p.proowner::regrole::text from pg_proc p where p.oid = 'walhook.ask(text,text[],text[],text[])'::regprocedure);
  probe constant text := 'walhook_condition.probe_' || md5(random()::text || clock_timestamp());
  source constant text := walhook.backfill_source(doctype_oid, condition);
  table_name constant text := (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = doctype_oid);
begin
  if source is null then
    raise exception '% has no primary key', doctype_oid::regclass using errcode = 'invalid_parameter_value',
      detail = 'A backfill reads its rows in the order of their key.';
  end if;
  if condition is not null then
    begin
      -- Pasting is injection, see walhook.compile_condition.
      perform walhook.create_as(path, format('create function %s_1() returns pg_catalog.bool language sql as %L', probe, format(E'select true from %s as doc where (\n%s\n) limit 1', table_name, condition)));
      perform walhook.create_as(path, format('create function %s_2() returns pg_catalog.bool language sql as %L', probe, format(E'select true from %s as doc where ((\n%s\n)) limit 1', table_name, condition)));
      raise exception using errcode = 'WH001';
    exception when sqlstate 'WH001' then
      null; -- Rolled back: the probes are gone.
    end;
  end if;
  perform walhook.create_as(path, format(
    'create function walhook_condition.b%s(pg_catalog.text, pg_catalog.jsonb) returns setof pg_catalog.text[] language plpgsql stable security definer
       set search_path from current set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set intervalstyle = ''postgres'' set extra_float_digits = 1
       set bytea_output = ''hex'' set lc_monetary = ''C'' set plan_cache_mode = ''force_custom_plan'' as %L', number, source));
  execute format('revoke all on function walhook_condition.b%s(text, jsonb) from public', number);
  execute format('grant execute on function walhook_condition.b%s(text, jsonb) to %s', number, caller);
  execute format('comment on function walhook_condition.b%s(text, jsonb) is %L', number, 'Reads rows for a backfill with the rights of who asked for it.');
end $$;
comment on function walhook.create_backfill_function(bigint, oid, text, text) is 'Makes, as the caller, the function that reads the rows of a backfill; its errors are Postgres'' own.';

drop function if exists walhook.read_backfill(bigint, text, jsonb);
create function walhook.read_backfill(number bigint, what text, input jsonb) returns setof text[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
  -- As in walhook.ask: whoever has made it something else finds nothing to take here.
  if not exists (select from pg_proc p where p.pronamespace = 'walhook_condition'::regnamespace and p.proname = 'b' || number and p.prosecdef) then
    raise exception 'the function of backfill % is gone, or is another one', number using errcode = 'undefined_function';
  end if;
  return query execute format('select * from walhook_condition.b%s($1, $2)', number) using what, input;
end $$;
comment on function walhook.read_backfill(bigint, text, jsonb) is
  'Reads rows for a backfill with the rights of who asked for it: what is first, next, keys, last or count. Runs as walhook_sandbox; for the bridge alone.';

create or replace function walhook.drop_backfill_function(number bigint) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('drop function if exists walhook_condition.b%s(text, jsonb)', number);
end $$;
comment on function walhook.drop_backfill_function(bigint) is 'Drops the function of a backfill that has ended.';

create or replace function walhook.make_backfill(webhook text, condition text, path text) returns bigint
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  streams_stored constant boolean := current_setting('server_version_num')::integer >= 180000;
  w record;
  mine record;
  number bigint;
begin
  select h.id, h.doctype_oid into w from walhook.webhook h where h.id = walhook.webhook_number(make_backfill.webhook);
  select p.problem, p.remedy into mine from walhook.author_problem(quote_ident(current_user)::regrole, w.doctype_oid) p;
  if mine.problem is not null then
    raise exception 'webhook "%": %', webhook, mine.problem using errcode = 'insufficient_privilege',
      detail = 'Who has a table''s rows sent must be able to be the webhook''s author.', hint = mine.remedy;
  end if;
  insert into walhook.backfill_request (webhook_id, condition, doctype_oid, columns)
    select w.id, nullif(btrim(make_backfill.condition), ''), w.doctype_oid,
           json_agg(json_build_object('name', a.attname, 'typeOid', a.atttypid::bigint) order by a.attnum)
      from pg_attribute a
     where a.attrelid = w.doctype_oid and a.attnum > 0 and not a.attisdropped and (a.attgenerated = '' or (a.attgenerated = 's' and streams_stored))
    returning id into number;
  perform walhook.create_backfill_function(number, w.doctype_oid, nullif(btrim(make_backfill.condition), ''), path);
  return number;
end $$;
comment on function walhook.make_backfill(text, text, text) is 'walhook.backfill, with the caller''s search_path.';

create or replace function walhook.backfill(webhook text, condition text default null) returns bigint
  language plpgsql security invoker
as $$
begin
  -- No search_path of its own: the caller's is the one that the condition means.
  return walhook.make_backfill(webhook, condition, pg_catalog.current_setting('search_path'));
end $$;
comment on function walhook.backfill(text, text) is
  'Sends the rows that exist through a webhook, in the order of their key, as doc event backfill: all, or those for which a condition over doc holds. The webhook''s own condition applies as well. Takes effect after the commit; rows are read with the caller''s rights. Returns the number of the backfill: walhook.backfill_progress, walhook.pause_backfill, walhook.resume_backfill, walhook.cancel_backfill.';

create or replace function walhook.want_backfill(number bigint, wish text) returns boolean
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  changed bigint;
begin
  if not exists (select from walhook.backfill_request r where r.id = number) then
    raise exception 'there is no backfill %', number using errcode = 'no_data_found', hint = 'They stand in walhook.backfill_progress.';
  end if;
  update walhook.backfill_request r set wanted = wish where r.id = number and r.wanted <> wish and r.wanted <> 'cancel';
  get diagnostics changed = row_count;
  return changed > 0;
end $$;
comment on function walhook.want_backfill(bigint, text) is 'Writes what is wanted of a backfill; false where that is so already.';

create or replace function walhook.pause_backfill(number bigint) returns boolean
  language sql security invoker set search_path = pg_catalog, pg_temp as $$ select walhook.want_backfill(number, 'pause') $$;
comment on function walhook.pause_backfill(bigint) is 'Reads no more rows for a backfill until walhook.resume_backfill; what was read is sent.';
create or replace function walhook.resume_backfill(number bigint) returns boolean
  language sql security invoker set search_path = pg_catalog, pg_temp as $$ select walhook.want_backfill(number, 'run') $$;
comment on function walhook.resume_backfill(bigint) is 'Goes on with a backfill where it was paused.';
create or replace function walhook.cancel_backfill(number bigint) returns boolean
  language sql security invoker set search_path = pg_catalog, pg_temp as $$ select walhook.want_backfill(number, 'cancel') $$;
comment on function walhook.cancel_backfill(bigint) is 'Ends a backfill for good; what was read already is sent, unless walhook.cancel takes it out of the queue.';

-- File 184 adds columns, so that it cannot be replaced once that has run.
drop view if exists walhook.backfill_progress;
create view walhook.backfill_progress as
  select r.id as backfill_id, coalesce(w.name, '') as webhook, r.condition,
         case when coalesce(s.state, 'running') = 'running' and r.wanted = 'pause' then 'paused'
              when s.state is null then 'new' else s.state end as state,
         coalesce(s.rows_done, 0) as rows_done, s.rows_estimated, coalesce(s.rows_sent, 0) as rows_sent,
         case when s.state = 'done' then 100.0 when s.rows_estimated > 0 then least(round(100.0 * s.rows_done / s.rows_estimated, 1), 100.0) end as percent,
         case when s.updated_at > s.started_at then round((s.rows_done / extract(epoch from s.updated_at - s.started_at))::numeric, 1) end as rows_per_second,
         case when s.state = 'running' and s.rows_done > 0 and s.updated_at > s.started_at
              then make_interval(secs => greatest(s.rows_estimated - s.rows_done, 0) * extract(epoch from s.updated_at - s.started_at)::float8 / s.rows_done) end as time_left,
         s.error, r.requested_by::text as requested_by, r.requested_at, s.started_at, s.updated_at
    from walhook.backfill_request r
    left join walhook.backfill_state s on s.backfill_id = r.id
    left join walhook.webhook w on w.id = r.webhook_id;
comment on view walhook.backfill_progress is 'Backfills and how far they are.';
comment on column walhook.backfill_progress.backfill_id is 'Number of the backfill.';
comment on column walhook.backfill_progress.webhook is 'Its webhook; empty where that is gone.';
comment on column walhook.backfill_progress.condition is 'Which rows; NULL: all.';
comment on column walhook.backfill_progress.state is 'new, running, paused, done, cancelled, or failed: see error.';
comment on column walhook.backfill_progress.rows_done is 'Rows that are done, sent or not.';
comment on column walhook.backfill_progress.rows_estimated is 'Rows that there were at the start.';
comment on column walhook.backfill_progress.rows_sent is 'Deliveries that came of them.';
comment on column walhook.backfill_progress.percent is 'How much is done.';
comment on column walhook.backfill_progress.rows_per_second is 'Since it started.';
comment on column walhook.backfill_progress.time_left is 'At that rate.';
comment on column walhook.backfill_progress.error is 'Why it failed.';
comment on column walhook.backfill_progress.requested_by is 'Who asked for it.';
comment on column walhook.backfill_progress.requested_at is 'When.';
comment on column walhook.backfill_progress.started_at is 'When the bridge began.';
comment on column walhook.backfill_progress.updated_at is 'When the last chunk became durable.';

do $$
declare
  added regclass;
begin
  foreach added in array array['walhook.backfill_request', 'walhook.backfill_watermark']::regclass[] loop
    if not exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
                    where p.pubname = 'walhook_all' and r.prrelid = added) then
      execute format('alter publication walhook_all add table %s', added);
      insert into walhook.published (publication, relation, member)
        select n.publication, n.relation, n.member from walhook.published_now() n where n.relation = added on conflict do nothing;
    end if;
  end loop;
end $$;

revoke all on function walhook.backfill_source(oid, text), walhook.create_backfill_function(bigint, oid, text, text), walhook.read_backfill(bigint, text, jsonb),
  walhook.drop_backfill_function(bigint), walhook.make_backfill(text, text, text), walhook.backfill(text, text), walhook.want_backfill(bigint, text),
  walhook.pause_backfill(bigint), walhook.resume_backfill(bigint), walhook.cancel_backfill(bigint) from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.backfill_request to walhook_bridge',
    'grant select, insert, update, delete on walhook.backfill_watermark, walhook.backfill_state to walhook_bridge',
    'grant execute on function walhook.read_backfill(bigint, text, jsonb), walhook.drop_backfill_function(bigint) to walhook_bridge',
    'grant select, insert, update (wanted) on walhook.backfill_request to walhook_admin',
    'grant execute on function walhook.backfill_source(oid, text), walhook.create_backfill_function(bigint, oid, text, text), walhook.make_backfill(text, text, text), '
      'walhook.backfill(text, text), walhook.want_backfill(bigint, text), walhook.pause_backfill(bigint), walhook.resume_backfill(bigint), '
      'walhook.cancel_backfill(bigint) to walhook_admin',
    'grant select on walhook.backfill_progress to walhook_admin',
    'grant select on walhook.backfill_progress to walhook_analyst',
    'grant select (backfill_id, webhook, state, rows_done, rows_estimated, rows_sent, percent, rows_per_second, time_left, requested_by, requested_at, started_at, updated_at) '
      'on walhook.backfill_progress to walhook_monitor'
  ]);
end $$;

do $$
declare
  owner constant name := current_user;
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'walhook_sandbox') then
    grant create on schema walhook to walhook_sandbox;
    -- As in file 050.
    perform set_config('role', 'none', true);
    begin
      alter function walhook.read_backfill(bigint, text, jsonb) owner to walhook_sandbox;
    exception when insufficient_privilege then
      raise notice 'role % may not act as walhook_sandbox: rows for backfills are read as %', current_user, owner;
    end;
    perform set_config('role', owner, true);
    revoke create on schema walhook from walhook_sandbox;
  end if;
end $$;

insert into walhook.migration (version, name) values (162, 'backfill') on conflict do nothing;

commit;
