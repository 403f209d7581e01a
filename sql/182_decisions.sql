-- Walhook 182: conditions tell NULL from FALSE, and a webhook that keeps its decisions keeps them also for changes that it did not choose
-- and for those it was disabled for.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- Conditions ------------------------------------------------------------------------------------------------------------------

alter table walhook.webhook add column if not exists condition_tells_null boolean;
comment on column walhook.webhook.condition_tells_null is
  'Whether the condition''s function tells NULL from FALSE. NULL: there is no condition, or an earlier version made the function, which says FALSE for both; the next change of the webhook by its author makes it anew. Filled by trigger.';
comment on column walhook.webhook.log_decisions is
  'Whether it is written into walhook.webhook_decision, for a day, why nothing was sent for a change: the condition is FALSE or NULL, the event is not chosen, the webhook is disabled. Costs a row for each; without it nothing.';

create or replace function walhook.condition_answers(condition text, row_source text, uses_old boolean, is_immutable boolean,
    docs text, olds text, events text) returns text
  language sql immutable set search_path = pg_catalog, pg_temp
as $$
  -- The scopes of walhook.condition_query. Here the condition is a value, so that NULL stays NULL; the places where it stands refuse
  -- what WHERE refuses: VALUES aggregates and window functions, LATERAL those of the levels around it, AND sets and whatever
  -- is not boolean. "and true" changes no answer, and the planner takes it away.
  -- Where the answer depends on nothing else it is a column of the one scan. Else it is asked row by row, each with its place: the
  -- planner could take what a volatile function said of one row for all of them (an init plan), or for those like it (Memoize).
  with answer as (
    select format(
$template$select walhook_answer.walhook_verdict
    from (select walhook_doc.*) as doc %3$s,
         lateral (select walhook_value.walhook_verdict
    from (select walhook_doc as doc, %1$s walhook_question.walhook_event as event) as walhook_scope,
         lateral (values (((
%2$s
)) and true)) as walhook_value (walhook_verdict)) as walhook_answer %4$s$template$,
      case when uses_old then 'walhook_old as old,' else '' end,
      condition,
      case when uses_old then ', (select walhook_old.*) as old' else '' end,
      case when is_immutable then '' else 'where walhook_question.walhook_place is not null' end) as query
  )
  select format(
$template$select pg_catalog.array_agg(%1$s order by walhook_question.walhook_place)
  from unnest(%3$s, %4$s, %5$s) with ordinality
         as walhook_question (walhook_docs, walhook_olds, walhook_event, walhook_place),
       lateral %6$s as walhook_doc %7$s %2$s$template$,
    case when is_immutable then 'walhook_one.walhook_verdict' else '(' || a.query || ')' end,
    case when is_immutable then ', lateral (' || a.query || ') as walhook_one' else '' end,
    docs, olds, events,
    format(row_source, 'walhook_question.walhook_docs'),
    case when uses_old then ', lateral ' || format(row_source, 'walhook_question.walhook_olds') || ' as walhook_old' else '' end)
  from answer a
$$;
comment on function walhook.condition_answers(text, text, boolean, boolean, text, text, text) is
  'The query that a condition''s function runs: TRUE, FALSE or NULL for each row. walhook.condition_query is what must compile before.';

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
    -- What will be run must compile as well.
    perform walhook.create_as(path, format('create function %s_r() returns pg_catalog.bool[] language sql as %L', probe,
      walhook.condition_answers(condition, source.row_source, uses_old, is_immutable, nothing, nothing, nothing)));
    raise exception using errcode = 'WH001';
  exception when sqlstate 'WH001' then
    null; -- Rolled back: the probes are gone.
  end;
end $$;
comment on function walhook.compile_condition(text, oid, text[], text) is
  'Compiles a condition over some columns as the caller and takes everything back; says whether it reads old, and whether it is immutable. Errors are Postgres'' own.';

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
  kept walhook.webhook;
  -- Whether the statement itself says the condition, also where it says what stood there: see walhook.note_said.
  is_said constant boolean := coalesce(current_setting('walhook.says_condition', true) = after.id::text, false);
  is_asked constant boolean := operation = 'UPDATE' and after.revision <> before.revision and pg_trigger_depth() < 2;
  condition_owner oid;
begin
  perform set_config('walhook.says_condition', '', true);
  after.condition := case when btrim(after.condition, E' \t\r\n\f\v') <> '' then after.condition end;
  if operation = 'UPDATE' then
    -- Whatever the statement says of them: these columns are ours.
    after.revision := before.revision;
    after.condition_function := before.condition_function;
    after.condition_columns := before.condition_columns;
    after.condition_uses_old := before.condition_uses_old;
    after.condition_is_immutable := before.condition_is_immutable;
    after.condition_tells_null := before.condition_tells_null;
    if not exists (select from pg_class c where c.oid = after.doctype_oid) then return after; end if;
    if after.condition is not distinct from before.condition and not is_said then
      if after.condition is null then return after; end if;
      -- Whoever changes something else of a webhook must not run with their own rights what somebody else has written, not even to compile it.
      condition_owner := (select p.proowner from pg_proc p where p.oid =
        to_regprocedure(format('walhook_condition.%I(text[], text[], text[])', before.condition_function)));
      if condition_owner is distinct from (select r.oid from pg_roles r where r.rolname = current_user) then
        if after.doctype_oid = before.doctype_oid and not (is_asked and walhook.condition_is_stale(before.condition_function)) then return after; end if;
        raise exception 'webhook "%": its condition runs with the rights of %', after.name,
            coalesce('role ' || (select r.rolname from pg_roles r where r.oid = condition_owner), 'a role that does not exist any more')
          using errcode = 'insufficient_privilege', detail = 'The condition is: ' || after.condition,
            hint = 'Read it, and say it anew in the same statement (set …, condition = …): then it runs with your rights. Or let that role do it.';
      end if;
      if after.doctype_oid = before.doctype_oid and not walhook.condition_is_stale(before.condition_function) then
        if before.condition_tells_null is not null or after.enabled <> before.enabled then return after; end if;
        -- An earlier version made its function: it works, so it stays where the condition could not be compiled now. Names mean what
        -- they meant.
        kept := after;
        path := coalesce((select substring(s.setting from '^search_path=(.*)$')
          from pg_proc p, unnest(p.proconfig) as s (setting)
         where p.pronamespace = 'walhook_condition'::regnamespace and p.proname = before.condition_function and s.setting like 'search\_path=%'), path);
      end if;
    end if;
  end if;
  after.revision := walhook.next_condition_revision(after.id, case when operation = 'UPDATE' then before.revision else 0 end);
  after.condition_function := null;
  after.condition_columns := null;
  after.condition_uses_old := null;
  after.condition_is_immutable := null;
  after.condition_tells_null := null;
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
    if kept.id is not null then return kept; end if;
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
  after.condition_tells_null := true;
  begin
    perform walhook.create_as(path, format(
      'create function walhook_condition.%I(pg_catalog.text[], pg_catalog.text[], pg_catalog.text[]) returns pg_catalog.bool[]
         language plpgsql stable security definer set search_path from current as %L',
      after.condition_function,
      E'#variable_conflict use_column\nbegin return (' ||
      walhook.condition_answers(after.condition, source.row_source, compiled.uses_old, compiled.is_immutable, '$1', '$2', '$3') || E'); end'));
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

create or replace function walhook.note_said() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  perform set_config('walhook.says_condition', new.id::text, true);
  return new;
end $$;
comment on function walhook.note_said() is
  'Trigger: notes that an UPDATE says the condition, which then is of who says it: it runs with their rights, whoever wrote it first.';
create or replace trigger webhook_39_said before update of condition on walhook.webhook
  for each row execute function walhook.note_said();
revoke all on function walhook.note_said() from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant execute on function walhook.note_said() to walhook_admin']);
end $$;

-- Asking: as walhook_sandbox, where it was so.
select set_config('walhook.former_asker', (select pg_get_userbyid(p.proowner) from pg_catalog.pg_proc p where p.oid = to_regprocedure('walhook.ask(text,text[],text[],text[])')), true);
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
    -- The one that is called below, and no cast of its answer: that would be a function of somebody's as well.
    select from pg_proc p where p.oid = to_regprocedure(format('walhook_condition.%I(text[], text[], text[])', function_name))
      and p.prosecdef and p.prokind = 'f' and not p.proretset and p.prorettype = 'boolean[]'::regtype) then
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
  -- One element a row, and a text that whoever reads it can take apart.
  if coalesce(cardinality(verdicts), 0) <> cardinality(event) or array_ndims(verdicts) > 1 or array_lower(verdicts, 1) <> 1 then
    raise exception 'condition function % does not answer each row', function_name using errcode = 'undefined_function',
      hint = 'Somebody has replaced it. Saving the webhook''s condition again makes it anew.';
  end if;
  return verdicts;
end $$;
comment on function walhook.ask(text, text[], text[], text[]) is
  'Asks a condition about rows: for each an array of texts in the order of condition_columns, as text, for doc and old, and the event: TRUE, FALSE or NULL, as Postgres says. Runs as walhook_sandbox; for the bridge alone.';

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
      answers := answers || array(select case v.verdict when true then 't' when false then 'f' else 'n' end
        from unnest(walhook.ask(function_name, doc[low:high], old[low:high], event[low:high]))
          with ordinality as v (verdict, n) order by v.n);
    exception when assert_failure or others then
      for n in low .. high loop
        begin
          answers := answers || case (walhook.ask(function_name, doc[n:n], old[n:n], event[n:n]))[1] when true then 't' when false then 'f' else 'n' end;
        exception when assert_failure or others then
          answers := answers || format('error: %s %s', sqlstate, sqlerrm);
        end;
      end loop;
    end;
  end loop;
  return answers;
end $$;
comment on function walhook.ask_rows(text, text[], text[], text[]) is
  'The same row by row, slower: t, f, n for NULL, or error: with SQLSTATE and message, which then is that row''s alone.';

-- What is kept ---------------------------------------------------------------------------------------------------------------------

comment on table walhook.webhook_decision is
  'Changes for which a webhook with log_decisions did not fire: its condition is FALSE or NULL, it did not choose the event, it was disabled. Only what is published for the webhooks of its table is seen. Written with the cursor, so each stands here once; kept for a day.';
comment on column walhook.webhook_decision.docevent is 'What happened; of a change that was not chosen its first doc event.';

-- Rights -------------------------------------------------------------------------------------------------------------------------

revoke all on function walhook.ask(text, text[], text[], text[]), walhook.ask_rows(text, text[], text[], text[]),
  walhook.condition_answers(text, text, boolean, boolean, text, text, text) from public;
do $$
declare
  owner constant name := current_user;
  former constant text := current_setting('walhook.former_asker', true);
begin
  perform walhook.grant_to_roles(array[
    'grant execute on function walhook.ask(text, text[], text[], text[]), walhook.ask_rows(text, text[], text[], text[]) to walhook_bridge',
    'grant execute on function walhook.condition_answers(text, text, boolean, boolean, text, text, text) to walhook_admin']);
  if exists (select from pg_catalog.pg_roles where rolname = 'walhook_sandbox') then
    grant create on schema walhook to walhook_sandbox;
    -- As where they were made first: only a member of both roles may give a function away.
    perform set_config('role', 'none', true);
    begin
      alter function walhook.ask(text, text[], text[], text[]) owner to walhook_sandbox;
      alter function walhook.ask_rows(text, text[], text[], text[]) owner to walhook_sandbox;
    exception when insufficient_privilege then
      if former = 'walhook_sandbox' then
        raise exception 'role % may not act as walhook_sandbox, as whom conditions are asked', current_user
          using errcode = 'insufficient_privilege', hint = format('grant walhook_sandbox to %I; or install as the role that did it before.', current_user);
      end if;
      raise notice 'role % may not act as walhook_sandbox: conditions are asked as %', current_user, owner;
    end;
    perform set_config('role', owner, true);
    revoke create on schema walhook from walhook_sandbox;
  end if;
end $$;

insert into walhook.migration (version, name) values (182, 'decisions') on conflict do nothing;

commit;
