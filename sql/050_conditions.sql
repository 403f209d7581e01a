-- Walhook 050: a webhook's condition becomes a function of its author's.
--
-- For each revision of a condition there is one function, walhook_condition.c<webhook>_<revision>(doc, old, event):
-- arrays in, one element a row; an array of booleans out. It belongs to the author and is SECURITY DEFINER, so it
-- can do what its author can and nothing else, whoever asks; inside it Postgres refuses to change the role. Its body is
-- a string that is bound when it runs: no type, table or function of the application gets a dependency
-- that would make the application's own DROP or ALTER fail.
--
-- Only walhook.ask calls it, as walhook_sandbox, a role without any right of its own.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- What a condition sees ---------------------------------------------------------------------------------------------

create or replace function walhook.base_type(type_oid oid) returns oid
  language sql stable strict set search_path = pg_catalog, pg_temp
as $$
  with recursive base (oid, typbasetype) as (
    select t.oid, t.typbasetype from pg_type t where t.oid = type_oid
    union all
    select t.oid, t.typbasetype from base b join pg_type t on t.oid = b.typbasetype
  )
  select b.oid from base b where b.typbasetype = 0
$$;
comment on function walhook.base_type(oid) is 'The type under a domain, through domains over domains; any other type itself.';

create or replace function walhook.condition_names(condition text, doctype_oid oid) returns text[]
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  every constant text[] := array(select a.attname::text from pg_attribute a
    where a.attrelid = doctype_oid and a.attnum > 0 and not a.attisdropped order by a.attnum);
  -- An identifier after the dot: quoted, or plain, which Postgres folds to lower case in ASCII only.
  reference constant text := '\m(?:doc|old)\s*\.\s*("(?:[^"]|"")+"|(?:[a-z_]|[^\x01-\x7f])(?:[a-z0-9_$]|[^\x01-\x7f])*)';
  named text[];
begin
  -- U&"…" can spell any name in escapes; $1 never gets through, but would name a row without its name.
  if condition ~* 'u&' or condition ~ '\$[0-9]' then return every; end if;
  named := array(select case when m.found[1] like '"%' then replace(substr(m.found[1], 2, length(m.found[1]) - 2), '""', '"')
      else translate(m.found[1], 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz') end
    from regexp_matches(condition, reference, 'gi') as m (found));
  if cardinality(named) <> (select count(*) from regexp_matches(condition, '\m(?:doc|old)\M', 'gi')) or not named <@ every then
    return every;
  end if;
  return array(select e.name from unnest(every) with ordinality as e (name, n) where e.name = any (named) order by e.n);
end $$;
comment on function walhook.condition_names(text, oid) is
  'The columns of the DocType that a condition could read: the ones it names where doc and old stand before a dot and a column everywhere, else all.';

create or replace function walhook.condition_source(doctype_oid oid, names text[],
    out sent_columns text[], out row_source text, out attributes text, out signature text)
  language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
declare
  -- Stored generated columns are in the stream since 18, virtual ones never are.
  streams_stored constant boolean := current_setting('server_version_num')::integer >= 180000;
  sent_list text;
  seen_list text;
  has_computed boolean;
begin
  with col as (
    select a.attname::text as name, a.attnum, a.attgenerated = '' or (a.attgenerated = 's' and streams_stored) as is_sent,
           a.attname = any (names) as is_seen,
           -- Without a type modifier: the values fit as they are, and go on fitting after a column is widened.
           format_type(walhook.base_type(a.atttypid), -1)
             || case when a.attcollation in (0, 'pg_catalog."default"'::regcollation) then ''
                     else format(' collate %I.%I', cn.nspname, c.collname) end as type_name,
           pg_get_expr(d.adbin, d.adrelid) as expression
      from pg_attribute a
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum and a.attgenerated <> ''
      left join pg_collation c on c.oid = a.attcollation
      left join pg_namespace cn on cn.oid = c.collnamespace
     where a.attrelid = doctype_oid and a.attnum > 0 and not a.attisdropped
  ), sent as (
    -- The columns that are seen, and those that a seen column is computed from.
    select b.*, row_number() over (order by b.attnum) as place
      from col b
     where b.is_sent and (b.is_seen or exists (select from col g
       where g.is_seen and not g.is_sent and position(replace(b.name, '"', '""') in g.expression) > 0))
  )
  select coalesce((select array_agg(s.name order by s.attnum) from sent s), '{}'),
         (select string_agg(format('(walhook_row.walhook_values)[%s]::%s as %I', s.place, s.type_name, s.name), ', ' order by s.attnum) from sent s),
         string_agg(case when c.is_sent then format('walhook_sent.%I', c.name)
           else format('case when walhook_row.walhook_values is not null then (%s)::%s end as %I', c.expression, c.type_name, c.name) end,
           ', ' order by c.attnum),
         string_agg(format('%I %s', c.name, c.type_name), ', ' order by c.attnum),
         doctype_oid || ': ' || coalesce(string_agg(format('%I %s%s', c.name, c.type_name, case when c.is_sent then '' else ' = ' || c.expression end),
           ', ' order by c.attnum), ''),
         coalesce(bool_or(not c.is_sent), false)
    into sent_columns, sent_list, seen_list, attributes, signature, has_computed
    from col c where c.is_seen;
  -- OFFSET 0 keeps the planner from casting a value anew wherever the condition names it.
  row_source := '(select %1$s::pg_catalog.text[] as walhook_values offset 0) as walhook_row';
  if has_computed then
    row_source := format('(select %s from %s, lateral (select %s offset 0) as walhook_sent offset 0)',
      replace(seen_list, '%', '%%'), row_source, replace(coalesce(sent_list, ''), '%', '%%'));
  else
    row_source := format('(select %s from %s offset 0)', replace(coalesce(sent_list, ''), '%', '%%'), row_source);
  end if;
end $$;
comment on function walhook.condition_source(oid, text[]) is
  'How a row is made of an array of texts: the columns that must be given, a FROM item with %1$s for the array, the row as attributes of a type, and all that as one text to compare. Domains become their base type; generated columns that are not in the stream are computed.';

create or replace function walhook.condition_query(condition text, row_source text, uses_old boolean, docs text, olds text, events text) returns text
  language sql immutable set search_path = pg_catalog, pg_temp
as $$
  -- Each name has a scope of its own, so that a column called doc, old or event hides none of the three. In the
  -- WHERE clause Postgres refuses aggregates, window functions, sets and whatever is not boolean.
  select format(
$template$select pg_catalog.array_agg((select true
    from (select walhook_doc.*) as doc %3$s
   where (select true
    from (select walhook_doc as doc, %1$s walhook_question.walhook_event as event) as walhook_scope
   where ((
%2$s
)))) is true order by walhook_question.walhook_place)
  from unnest(%4$s, %5$s, %6$s) with ordinality
         as walhook_question (walhook_docs, walhook_olds, walhook_event, walhook_place),
       lateral %7$s as walhook_doc %8$s$template$,
    case when uses_old then 'walhook_old as old,' else '' end,
    condition,
    case when uses_old then ', (select walhook_old.*) as old' else '' end,
    docs, olds, events,
    format(row_source, 'walhook_question.walhook_docs'),
    case when uses_old then ', lateral ' || format(row_source, 'walhook_question.walhook_olds') || ' as walhook_old' else '' end)
$$;
comment on function walhook.condition_query(text, text, boolean, text, text, text) is 'The query that answers a condition for arrays of rows.';

-- Compiling -----------------------------------------------------------------------------------------------------------

create or replace function walhook.create_as(path text, statement text) returns void
  language plpgsql set search_path = pg_catalog, pg_temp
  -- What a text means must not depend on the author's session, but for its search_path.
  set check_function_bodies = on set standard_conforming_strings = on set transform_null_equals = off
as $$
begin
  -- For this function alone: its own setting ends with it, and this with that.
  perform set_config('search_path', path, true);
  execute statement;
end $$;
comment on function walhook.create_as(text, text) is 'Runs a CREATE FUNCTION statement with the author''s search_path in force.';

create or replace function walhook.compile_condition(condition text, doctype_oid oid, names text[], path text,
    out uses_old boolean, out is_immutable boolean)
  language plpgsql set search_path = pg_catalog, pg_temp
as $$
declare
  nothing constant text := 'null::pg_catalog.text[]';
  probe constant text := 'walhook_condition.probe_' || md5(random()::text || clock_timestamp());
  source record;
  line text;
begin
  select s.* into source from walhook.condition_source(doctype_oid, names) s;
  begin
    -- Nothing is run: creating a function only reads its body. A query without parameters refuses $1.
    perform walhook.create_as(path, format('create function %s_a() returns pg_catalog.bool[] language sql as %L', probe,
      walhook.condition_query(condition, source.row_source, true, nothing, nothing, nothing)));
    -- Pasting is injection: a text that closes one pair of parentheses does not fit into two, and the other way round.
    begin
      perform walhook.create_as(path, format('create function %s_1() returns void language plpgsql as %L', probe, E'begin perform 1 where (\n' || condition || E'\n); end'));
      perform walhook.create_as(path, format('create function %s_2() returns void language plpgsql as %L', probe, E'begin perform 1 where ((\n' || condition || E'\n)); end'));
    exception when syntax_error then
      raise exception 'it is not one expression: %', sqlerrm using errcode = 'syntax_error';
    end;
    begin
      perform walhook.create_as(path, format('create function %s_b() returns pg_catalog.bool[] language sql as %L', probe,
        walhook.condition_query(condition, source.row_source, false, nothing, nothing, nothing)));
      uses_old := false;
    exception when others then
      uses_old := true;
    end;
    -- The planner puts a function's expression in its place only if it is as constant as declared.
    is_immutable := true;
    begin
      execute format('create type %s_t as (%s)', probe, source.attributes);
      perform walhook.create_as(path, format(
        'create function %1$s_i(doc %1$s_t, old %1$s_t, event pg_catalog.text) returns pg_catalog.bool language sql immutable as %2$L',
        probe, E'select ((\n' || condition || E'\n))'));
      for line in execute format('explain (verbose, costs off) select %1$s_i(q.doc, q.old, q.event)
          from (select null::%1$s_t as doc, null::%1$s_t as old, ''''::text as event offset 0) q', probe) loop
        if position(split_part(probe, '.', 2) || '_i(' in line) > 0 then is_immutable := false; end if;
      end loop;
    exception when others then
      is_immutable := false;
    end;
    raise exception using errcode = 'WH001';
  exception when sqlstate 'WH001' then
    null; -- Rolled back: the probes are gone.
  end;
end $$;
comment on function walhook.compile_condition(text, oid, text[], text) is
  'Compiles a condition over some columns as the caller and takes everything back; says whether it reads old, and whether it is immutable. Errors are Postgres'' own.';

create or replace function walhook.next_condition_revision(webhook_id integer, floor integer) returns integer
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  -- Also beyond what is left of a webhook that had this number before, or stands there by somebody's hand.
  select greatest(floor, coalesce(max(substring(p.proname from '_([0-9]{1,8})$')::integer), 0)) + 1
    from pg_proc p
   where p.pronamespace = 'walhook_condition'::regnamespace and p.proname ~ format('^c%s_[0-9]{1,8}$', webhook_id)
$$;
comment on function walhook.next_condition_revision(integer, integer) is 'The next revision of a webhook''s condition whose function name is free.';

create or replace function walhook.toasted_columns(doctype_oid oid, names text[], out columns text, out has_toasted boolean)
  language sql stable set search_path = pg_catalog, pg_temp
as $$
  select (select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
            from pg_attribute a join pg_type t on t.oid = walhook.base_type(a.atttypid)
           where a.attrelid = doctype_oid and a.attname = any (names) and a.attlen = -1 and a.attstorage in ('e', 'x')
             -- Short by declaration, so never moved out of the row.
             and not (t.typname in ('varchar', 'bpchar', 'bit', 'varbit') and a.atttypmod between 0 and 504)),
         exists (select from (select doctype_oid as relid union select p.relid::oid from pg_partition_tree(doctype_oid) p) r
                   join pg_class c on c.oid = r.relid
                  where c.reltoastrelid <> 0 and pg_relation_size(c.reltoastrelid) > 0)
$$;
comment on function walhook.toasted_columns(oid, text[]) is
  'Which of these columns can be stored outside the row, and whether any value of the table is.';

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
          and (after.condition is null or after.author <> current_user::regrole or not walhook.condition_is_stale(before.condition_function))) then
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
comment on function walhook.with_condition(text, walhook.webhook, walhook.webhook, text) is
  'A webhook''s row with what is known of its condition, whose function is made, as the caller, where condition, DocType or author changed or the DocType''s columns did.';

create or replace function walhook.set_condition() returns trigger
  language plpgsql security invoker
as $$
begin
  -- No search_path of its own: the author's is the one that the condition means.
  new := walhook.with_condition(tg_op, old, new, pg_catalog.current_setting('search_path'));
  return new;
end $$;
comment on function walhook.set_condition() is 'Trigger: compiles the condition as the author, or refuses it.';

create or replace function walhook.condition_is_stale(function_name text) returns boolean
  language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
  select coalesce((
    select not exists (select from pg_class c where c.oid = s.relid)
           or s.signature is distinct from (select n.signature from walhook.condition_source(s.relid, array(
                select a.attname::text from pg_attribute a
                 where a.attrelid = s.relid and a.attnum > 0 and not a.attisdropped
                   and position(', ' || quote_ident(a.attname) || ' ' in s.columns) > 0)) n)
      from pg_proc p,
           lateral (select obj_description(p.oid, 'pg_proc') as signature) d,
           lateral (select d.signature, substring(d.signature from '^[0-9]+')::oid as relid, ', ' || substring(d.signature from ': (.*)$') as columns) s
     where p.pronamespace = 'walhook_condition'::regnamespace and p.proname = function_name and d.signature ~ '^[0-9]+: '
  ), true)
$$;
comment on function walhook.condition_is_stale(text) is
  'Whether a condition''s function is gone, or the columns it reads have changed since it was made: saving the webhook again makes it anew.';

-- Asking --------------------------------------------------------------------------------------------------------------

drop function if exists walhook.ask_rows(text, text[], text[], text[]);
drop function if exists walhook.ask(text, text[], text[], text[]);

create function walhook.ask(function_name text, doc text[], old text[], event text[]) returns boolean[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  verdicts boolean[];
begin
  -- The name is checked because whoever made it something else would be run here, and SECURITY DEFINER because a function
  -- that its author has turned into SECURITY INVOKER would be free to call those of the others.
  if function_name !~ '^c[0-9]+_[0-9]+$' or not exists (
    select from pg_proc p where p.pronamespace = 'walhook_condition'::regnamespace and p.proname = function_name
      and p.pronargs = 3 and p.proargtypes[0] = 'text[]'::regtype and p.proargtypes[1] = 'text[]'::regtype
      and p.proargtypes[2] = 'text[]'::regtype and p.prosecdef) then
    raise exception 'there is no condition function %', function_name using errcode = 'undefined_function',
      hint = 'Saving the webhook''s condition again makes it anew.';
  end if;
  begin
    execute format('select walhook_condition.%I($1, $2, $3)', function_name) into verdicts using doc, old, event;
    -- Rolled back: no setting or lock of one condition reaches the next.
    raise exception using errcode = 'WH001';
  exception when sqlstate 'WH001' then
    null;
  end;
  if coalesce(cardinality(verdicts), 0) <> cardinality(event) or array_position(verdicts, null) is not null then
    raise exception 'condition function % does not answer each row', function_name using errcode = 'undefined_function',
      hint = 'Somebody has replaced it. Saving the webhook''s condition again makes it anew.';
  end if;
  return verdicts;
end $$;
comment on function walhook.ask(text, text[], text[], text[]) is
  'Asks a condition about rows: for each an array of texts in the order of condition_columns, as text, for doc and old, and the event. Runs as walhook_sandbox; for the bridge alone.';

create function walhook.ask_rows(function_name text, doc text[], old text[], event text[]) returns text[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  -- In groups, of which only those with a bad row are asked again row by row: no row more than twice.
  size constant integer := ceil(sqrt(cardinality(event)));
  answers text[] := '{}';
  high integer;
begin
  for low in 1 .. cardinality(event) by greatest(size, 1) loop
    high := least(low + size - 1, cardinality(event));
    begin
      answers := answers || array(select case when v.verdict then 't' else 'f' end
        from unnest(walhook.ask(function_name, doc[low:high], old[low:high], event[low:high]))
          with ordinality as v (verdict, n) order by v.n);
    exception when assert_failure or others then
      for n in low .. high loop
        begin
          answers := answers || case when (walhook.ask(function_name, doc[n:n], old[n:n], event[n:n]))[1] then 't' else 'f' end;
        exception when assert_failure or others then
          answers := answers || format('error: %s %s', sqlstate, sqlerrm);
        end;
      end loop;
    end;
  end loop;
  return answers;
end $$;
comment on function walhook.ask_rows(text, text[], text[], text[]) is
  'The same row by row, slower: t, f, or error: with SQLSTATE and message, which then is that row''s alone.';

-- Clearing up ---------------------------------------------------------------------------------------------------------

create or replace function walhook.unused_conditions(out functions text[], out at_lsn pg_lsn)
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
begin
  functions := array(
    select p.proname::text from pg_proc p
     where p.pronamespace = 'walhook_condition'::regnamespace and p.proname ~ '^c[0-9]+_[0-9]+$'
       and not exists (select from walhook.webhook w where w.condition_function = p.proname)
     order by p.proname);
  -- After the snapshot: whatever took the last of them out of use was committed before this.
  at_lsn := pg_current_wal_insert_lsn();
end $$;
comment on function walhook.unused_conditions() is
  'Condition functions of former revisions. They may be dropped once the bridge has passed at_lsn: it answers each event with the revision in force at that event.';

create or replace function walhook.drop_conditions(functions text[]) returns integer
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  dropped integer := 0;
  statement text;
begin
  for statement in
    select format('drop function walhook_condition.%I(%s)', p.proname, pg_get_function_identity_arguments(p.oid))
      from pg_proc p
     where p.pronamespace = 'walhook_condition'::regnamespace and p.proname = any (functions) and p.proname ~ '^c[0-9]+_[0-9]+$'
       and not exists (select from walhook.webhook w where w.condition_function = p.proname)
       and not exists (select from walhook.webhook_in_force f where f.definition -> 'webhook' ->> 'condition_function' = p.proname)
  loop
    begin
      execute statement;
      dropped := dropped + 1;
    exception when dependent_objects_still_exist or undefined_function then
      null; -- Somebody uses it, or has dropped it.
    end;
  end loop;
  return dropped;
end $$;
comment on function walhook.drop_conditions(text[]) is
  'Drops condition functions that neither a webhook nor what is in force refers to; returns how many.';

-- Rights --------------------------------------------------------------------------------------------------------------

create or replace trigger webhook_40_condition before insert or update on walhook.webhook
  for each row execute function walhook.set_condition();

revoke all on function walhook.ask(text, text[], text[], text[]), walhook.ask_rows(text, text[], text[], text[]),
  walhook.unused_conditions(), walhook.drop_conditions(text[]) from public;
grant execute on function walhook.base_type(oid), walhook.condition_names(text, oid), walhook.condition_source(oid, text[]),
  walhook.condition_query(text, text, boolean, text, text, text), walhook.create_as(text, text),
  walhook.compile_condition(text, oid, text[], text), walhook.next_condition_revision(integer, integer),
  walhook.toasted_columns(oid, text[]), walhook.condition_is_stale(text),
  walhook.with_condition(text, walhook.webhook, walhook.webhook, text) to public;

do $$
declare
  owner constant name := current_user;
begin
  if exists (select from pg_catalog.pg_roles where rolname = 'walhook_bridge') then
    grant execute on function walhook.ask(text, text[], text[], text[]), walhook.ask_rows(text, text[], text[], text[]),
      walhook.unused_conditions(), walhook.drop_conditions(text[]), walhook.condition_is_stale(text) to walhook_bridge;
  end if;
  if exists (select from pg_catalog.pg_roles where rolname = 'walhook_admin') then
    grant usage, create on schema walhook_condition to walhook_admin;
  end if;
  if exists (select from pg_catalog.pg_roles where rolname = 'walhook_sandbox') then
    grant usage on schema walhook_condition to walhook_sandbox;
    grant usage on schema walhook to walhook_sandbox;
    grant create on schema walhook to walhook_sandbox;
    -- Giving a function away takes a member of both roles: the installing one, where it may act as the sandbox.
    perform set_config('role', 'none', true);
    begin
      alter function walhook.ask(text, text[], text[], text[]) owner to walhook_sandbox;
      alter function walhook.ask_rows(text, text[], text[], text[]) owner to walhook_sandbox;
    exception when insufficient_privilege then
      raise notice 'role % may not act as walhook_sandbox: conditions are asked as %', current_user, owner;
    end;
    perform set_config('role', owner, true);
    revoke create on schema walhook from walhook_sandbox;
  end if;
end $$;

insert into walhook.migration (version, name) values (50, 'conditions') on conflict do nothing;

commit;
