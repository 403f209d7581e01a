-- Walhook 184: a backfill is bounded in every respect, follows its table's columns, goes on after what stopped it was mended, and says in words
-- what is wrong with its condition.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

alter table walhook.backfill_request add column if not exists resumes integer not null default 0;
comment on column walhook.backfill_request.resumes is 'How often walhook.resume_backfill was called for it.';
alter table walhook.backfill_state add column if not exists resumes integer not null default 0;
comment on column walhook.backfill_state.resumes is 'The backfill_request.resumes that it runs by, or failed by: a higher one means that somebody has resumed it since.';
comment on column walhook.backfill_state.error is 'Why it failed; while it runs: why it has to try again.';
comment on column walhook.backfill_state.last_key is 'Rows up to this key are done.';
comment on column walhook.backfill_state.pending is 'Keys of rows that an earlier version of the bridge wanted to read again.';
comment on table walhook.backfill_watermark is
  'Places in the WAL: from low on the bridge remembers what it delivers; at high it has read a chunk of rows, which are sent there. Written by the bridge, which looks for them in the WAL.';
comment on column walhook.backfill_watermark.side is 'low or high.';

-- Who may call ---------------------------------------------------------------------------------------------------------------

create table if not exists walhook.backfill_token (
  backfill_id bigint constraint backfill_token_pkey primary key
    constraint backfill_token_backfill_id_fkey references walhook.backfill_request (id) on delete cascade,
  token text not null
);
comment on table walhook.backfill_token is
  'What the bridge tells the function of a backfill, which knows its hash and answers nobody else: all of these functions may be called by the one role that asks, and so by whatever would run as it. Read by the bridge alone.';
comment on column walhook.backfill_token.backfill_id is 'Its number.';
comment on column walhook.backfill_token.token is 'The token itself.';

create or replace function walhook.keep_backfill_token(number bigint, token text) returns void
  language sql security definer set search_path = pg_catalog, pg_temp
as $$
  insert into walhook.backfill_token (backfill_id, token) values (number, token)
$$;
comment on function walhook.keep_backfill_token(bigint, text) is 'Keeps the token of a new backfill. SECURITY DEFINER: whoever asks for one may read none. Each has one for ever.';

-- Reading ------------------------------------------------------------------------------------------------------------------

create or replace function walhook.is_plain_type(type_oid oid) returns boolean
  language sql stable strict security invoker set search_path = pg_catalog, pg_temp
as $$
  with recursive part (oid, is_inner) as (
    select walhook.base_type(type_oid), false
    union
    select i.oid, true
      from part p
      join pg_type t on t.oid = p.oid
     cross join lateral (
       select t.typelem where t.typelem <> 0 and t.typcategory = 'A'
       union all select r.rngsubtype from pg_range r where r.rngtypid = t.oid
       union all select r.rngsubtype from pg_range r where r.rngmultitypid = t.oid) as i (oid)
  )
  select not exists (select from part p join pg_type t on t.oid = p.oid where t.typtype in ('c', 'p') or (p.is_inner and t.typtype = 'd'))
$$;
comment on function walhook.is_plain_type(oid) is
  'Whether a text can be read as a type (as its base type, where it is a domain) without the check of a domain inside it, which is code of whoever owns the table: no composite, no array or range over one or over a domain.';

create or replace function walhook.key_is(column_name text, type_oid oid, type_name text, value text) returns text
  language sql stable security invoker set search_path = pg_catalog, pg_temp
as $$
  select case when walhook.is_plain_type(type_oid) then format('doc.%I = %L::%s', column_name, value, type_name)
    else format('pg_catalog.format(''%%s'', doc.%I) operator(pg_catalog.=) %L', column_name, value) end
$$;
comment on function walhook.key_is(text, oid, text, text) is
  'A condition on doc: a column of the key has this value, given as text. What cannot be read without code of the table''s owner is compared as text.';

create or replace function walhook.key_bound(doctype_oid oid, key smallint[], side text, edge jsonb) returns text
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  -- Strategies of a B-tree: https://www.postgresql.org/docs/current/btree.html
  outer_strategy constant smallint := case side when 'until' then 1 else 5 end;
  inner_strategy constant smallint := case side when 'until' then 2 when 'from' then 4 else 5 end;
  columns text[];
  edges text[];
  stricts text[];
  lasts text[];
  equals text[];
  leading_operator text;
  result text;
begin
  if exists (select from unnest(key) k (attnum) join pg_attribute a on a.attrelid = doctype_oid and a.attnum = k.attnum where not walhook.is_plain_type(a.atttypid)) then
    raise exception '% has a key that cannot be read without code of its owner', doctype_oid::regclass using errcode = 'feature_not_supported',
      detail = 'A composite type, or an array or range over a domain, may have checks, which would run with the rights of who asked.',
      hint = 'Such a table cannot be backfilled.';
  end if;
  -- By the operators of the key's index, which whoever asks may not have in their search_path: there another > may be found.
  select array_agg(format('doc.%I', a.attname) order by k.place),
         array_agg(format('%L::%s', edge ->> (k.place - 1)::integer, format_type(walhook.base_type(a.atttypid), a.atttypmod)) order by k.place),
         array_agg(walhook.btree_operator(i.indclass[k.place - 1], outer_strategy) order by k.place),
         array_agg(walhook.btree_operator(i.indclass[k.place - 1], inner_strategy) order by k.place),
         array_agg(walhook.btree_operator(i.indclass[k.place - 1], 3::smallint) order by k.place),
         max(walhook.btree_operator(i.indclass[0], (case side when 'until' then 2 else 4 end)::smallint))
    into columns, edges, stricts, lasts, equals, leading_operator
    from unnest(key) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = doctype_oid and a.attnum = k.attnum
    join pg_index i on i.indrelid = doctype_oid and i.indisprimary;
  if lasts[1] = all (lasts) then
    return format('row(%s) %s row(%s)', array_to_string(columns, ', '), lasts[1], array_to_string(edges, ', '));
  end if;
  -- A comparison of rows has one operator. The first column's part lets the index be entered at its place.
  result := format('%s %s %s', columns[cardinality(key)], lasts[cardinality(key)], edges[cardinality(key)]);
  for n in reverse cardinality(key) - 1 .. 1 loop
    result := format('(%1$s %2$s %4$s or %1$s %3$s %4$s and %5$s)', columns[n], stricts[n], equals[n], edges[n], result);
  end loop;
  return format('%s %s %s and %s', columns[1], leading_operator, edges[1], result);
end $$;
comment on function walhook.key_bound(oid, smallint[], text, jsonb) is
  'A condition on doc: rows after a key, from it on, or until it, in the order of the primary key.';

create or replace function walhook.btree_operator(operator_class oid, strategy smallint) returns text
  language sql stable security invoker set search_path = pg_catalog, pg_temp
as $$
  select format('operator(%I.%s)', n.nspname, o.oprname)
    from pg_opclass c
    join pg_amop m on m.amopfamily = c.opcfamily and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype and m.amopstrategy = strategy and m.amoppurpose = 's'
    join pg_operator o on o.oid = m.amopopr
    join pg_namespace n on n.oid = o.oprnamespace
   where c.oid = operator_class
$$;
comment on function walhook.btree_operator(oid, smallint) is 'The operator of a B-tree operator class for a strategy: 1 <, 2 <=, 3 =, 4 >=, 5 >.';

create or replace function walhook.backfill_queries(doctype_oid oid, key smallint[], condition text, input jsonb,
    out description json, out scan text, out following text, out first text, out last text, out top text, out count text)
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  streams_stored constant boolean := current_setting('server_version_num')::integer >= 180000;
  meant constant text := E'((\n' || coalesce(condition, 'true') || E'\n))';
  source text;
  texts text;
  keys text;
  key_texts text;
  descending text;
  bounds text := 'true';
  bound record;
begin
  source := (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = doctype_oid);
  if source is null then
    raise exception 'the table is gone' using errcode = 'undefined_table', hint = 'There is nothing left to send: walhook.cancel_backfill.';
  end if;
  if key is distinct from walhook.backfill_key(doctype_oid) then
    raise exception '% has another primary key than when this backfill was asked for', source using errcode = 'object_not_in_prerequisite_state',
      hint = 'What is done is known by the old key. Cancel it, and ask for another one, by a condition for the rows that are not done.';
  end if;
  select string_agg(format('case when pg_catalog.num_nonnulls(doc.%1$I) operator(pg_catalog.=) 1 then pg_catalog.format(''%%s'', doc.%1$I) end', a.attname), ', ' order by a.attnum),
         json_build_object('schema', (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = doctype_oid),
           'name', (select c.relname from pg_class c where c.oid = doctype_oid),
           'columns', json_agg(json_build_object('name', a.attname, 'typeOid', a.atttypid::bigint) order by a.attnum))
    into texts, description
    from pg_attribute a
   where a.attrelid = doctype_oid and a.attnum > 0 and not a.attisdropped and (a.attgenerated = '' or (a.attgenerated = 's' and streams_stored));
  select string_agg(format('doc.%I', a.attname), ', ' order by k.place), string_agg(format('doc.%I desc', a.attname), ', ' order by k.place),
         string_agg(format('pg_catalog.format(''%%s'', doc.%I)', a.attname), ', ' order by k.place)
    into keys, descending, key_texts
    from unnest(key) with ordinality as k (attnum, place) join pg_attribute a on a.attrelid = doctype_oid and a.attnum = k.attnum;
  for bound in select b.name from (values ('after'), ('from'), ('until')) b (name) where jsonb_typeof(input -> b.name) = 'array' loop
    bounds := bounds || ' and ' || walhook.key_bound(doctype_oid, key, bound.name, input -> bound.name);
  end loop;
  scan := format('select array[%s]::pg_catalog.text[] as key, case when %s then array['''', %s]::pg_catalog.text[] end as row from %s as doc where %s order by %s',
    key_texts, meant, texts, source, bounds, keys);
  following := format('select array[%s]::pg_catalog.text[] from %s as doc where %s order by %s limit 1', key_texts, source, bounds, keys);
  first := format('select array[''key'', %s]::pg_catalog.text[] from %s as doc where %s order by %s limit 1', key_texts, source, meant, keys);
  last := format('select array[''key'', %s]::pg_catalog.text[] from %s as doc where %s order by %s limit 1', key_texts, source, meant, descending);
  top := format('select array[''key'', %s]::pg_catalog.text[] from %s as doc order by %s limit 1', key_texts, source, descending);
  count := format('select array[''count'', pg_catalog.count(*)::pg_catalog.text] from %s as doc where %s', source, meant);
end $$;
comment on function walhook.backfill_queries(oid, smallint[], text, jsonb) is
  'The queries by which a backfill reads a table as it is now: rows in the order of the key, values as texts as the stream has them, NULL for a row that the condition does not mean.';

create or replace function walhook.backfill_key(doctype_oid oid) returns smallint[]
  language sql stable security invoker set search_path = pg_catalog, pg_temp
as $$
  select array_agg(k.attnum order by k.place)
    from pg_index i cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, place)
   where i.indrelid = doctype_oid and i.indisprimary and k.place <= i.indnkeyatts
$$;
comment on function walhook.backfill_key(oid) is 'The numbers of the columns of a table''s primary key; NULL where it has none.';

create or replace function walhook.backfill_reached(input jsonb, reached text[]) returns jsonb
  language sql immutable security invoker set search_path = pg_catalog, pg_temp
as $$
  select case when reached is null then input else input - 'from' || jsonb_build_object('after', to_jsonb(reached)) end
$$;
comment on function walhook.backfill_reached(jsonb, text[]) is 'What is left to read of a chunk behind a key.';

create or replace function walhook.fit_row(value text[], most bigint) returns text[]
  language sql immutable security invoker set search_path = pg_catalog, pg_temp
as $$
  -- As the stream's rows: the longest go first, until the rest fits.
  with length as (
    select v.place, octet_length(v.value) as bytes from unnest(value) with ordinality as v (value, place) where v.value is not null and v.place > 1
  ), ranked as (
    select l.place, sum(l.bytes) over () - coalesce(sum(l.bytes) over (order by l.bytes desc, l.place rows between unbounded preceding and 1 preceding), 0) as left_bytes
      from length l
  ), left_out as (
    select array_agg(r.place order by r.place) as places from ranked r where r.left_bytes > most
  )
  select array_agg(case when v.place = 1 then coalesce(array_to_string(array(select p - 2 from unnest(o.places) p), ','), '')
                        when v.place = any (o.places) then null else v.value end order by v.place)
    from left_out o, unnest(value) with ordinality as v (value, place)
$$;
comment on function walhook.fit_row(text[], bigint) is
  'A row whose longest values are left out where they are more bytes than that together; its first element lists their places.';

create or replace function walhook.lock_for_reading(doctype_oid oid) returns void
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  name text;
begin
  for tries in 1..3 loop
    -- As the catalog has it at this moment, not as this statement sees it.
    name := doctype_oid::regclass::text;
    exit when name ~ '^[0-9]+$';
    begin
      execute format('select from %s limit 0', name);
      return;
    exception when undefined_table then
      null; -- Renamed, or dropped, while this waited for its lock.
    end;
  end loop;
  raise exception 'the table is gone' using errcode = 'undefined_table', hint = 'There is nothing left to send: walhook.cancel_backfill.';
end $$;
comment on function walhook.lock_for_reading(oid) is
  'Waits for whoever changes a table, and keeps its definition as it is until the transaction ends. What is to be seen must be asked by a later statement: to one that began before a TRUNCATE or a rewrite was committed, the table is empty.';

create or replace function walhook.is_of_row(code text) returns boolean
  language sql immutable security invoker set search_path = pg_catalog, pg_temp
as $$
  select left(code, 2) not in ('08', '0A', '0B', '25', '26', '28', '2B', '2D', '34', '3D', '3F', '40', '42', '44', '53', '55', '57', '58', 'F0') and code <> 'XX000'
$$;
comment on function walhook.is_of_row(text) is
  'Whether an error by its SQLSTATE comes of one row''s values, so that other rows may do; not so: rights, what is no longer there, resources, the connection.';

create or replace function walhook.scan_backfill(doctype_oid oid, key smallint[], condition text, path text, input jsonb) returns setof text[]
  language plpgsql stable security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  most_bytes constant bigint := coalesce((input ->> 'most')::bigint, 16777216);
  stop_at constant timestamptz := clock_timestamp() + interval '1 s';
  query record;
  other text;
  rows_read refcursor;
  found_row record;
  value text[];
  reached text[];
  next_key text[];
  row_count integer := 0;
  byte_count bigint := 0;
begin
  if input ->> 'what' = 'lock' then
    perform walhook.lock_for_reading(doctype_oid);
    return;
  end if;
  select q.* into query from walhook.backfill_queries(doctype_oid, key, condition, input) q;
  other := case input ->> 'what' when 'first' then query.first when 'last' then query.last when 'top' then query.top when 'count' then query.count end;
  -- From here on names are looked up as whoever asked for the backfill meant them; so those of this function say where they are.
  perform pg_catalog.set_config('search_path', path, true);
  if other is not null then
    begin
      return query execute other;
    exception when others then
      -- Some row makes the condition fail; its turn comes.
      if not walhook.is_of_row(sqlstate) then raise; end if;
      if other operator(pg_catalog.=) query.last then return query execute query.top; end if;
    end;
    return;
  end if;

  -- In the order of the key's index: a sort would read all of the table for each chunk.
  perform pg_catalog.set_config('enable_sort', 'off', true), pg_catalog.set_config('enable_incremental_sort', 'off', true);
  return next array['table', query.description::pg_catalog.text];
  begin
    open rows_read no scroll for execute query.scan;
    loop
      -- One by one: a loop over a query would fetch fifty at a time, however large.
      fetch rows_read into found_row;
      if not found then
        return next array['end'];
        return;
      end if;
      reached := found_row.key;
      if found_row.row is not null then
        value := found_row.row;
        if pg_catalog.pg_column_size(value) operator(pg_catalog.>) most_bytes then value := walhook.fit_row(value, most_bytes); end if;
        row_count := row_count operator(pg_catalog.+) 1;
        byte_count := byte_count operator(pg_catalog.+) pg_catalog.pg_column_size(value);
        return next value;
      end if;
      if row_count operator(pg_catalog.>=) 500 or byte_count operator(pg_catalog.>=) 4194304::pg_catalog.int8
        or pg_catalog.clock_timestamp() operator(pg_catalog.>=) stop_at then
        return next pg_catalog.array_prepend('at', reached);
        return;
      end if;
    end loop;
  exception when others then
    if not walhook.is_of_row(sqlstate) then raise; end if;
  end;

  -- Some row's condition or one of its values has failed, and whose it is nobody can tell: a plan over partitions computes what
  -- comes from each of them ahead of its turn. So each row is asked for by itself, and one that fails harms itself alone.
  loop
    input := walhook.backfill_reached(input, reached);
    select q.* into query from walhook.backfill_queries(doctype_oid, key, condition, input) q;
    execute query.following into next_key;
    if next_key is null then
      return next array['end'];
      return;
    end if;
    begin
      select q.* into query from walhook.backfill_queries(doctype_oid, key, condition,
        pg_catalog.jsonb_build_object('from', pg_catalog.to_jsonb(next_key), 'until', pg_catalog.to_jsonb(next_key))) q;
      execute query.scan into found_row;
      value := found_row.row;
      if pg_catalog.pg_column_size(value) operator(pg_catalog.>) most_bytes then value := walhook.fit_row(value, most_bytes); end if;
    exception when others then
      if not walhook.is_of_row(sqlstate) then raise; end if;
      value := pg_catalog.array_prepend('error', pg_catalog.array_prepend(pg_catalog.left(sqlerrm, 2000), next_key));
    end;
    reached := next_key;
    if value is not null then
      row_count := row_count operator(pg_catalog.+) 1;
      byte_count := byte_count operator(pg_catalog.+) pg_catalog.pg_column_size(value);
      return next value;
    end if;
    if row_count operator(pg_catalog.>=) 500 or byte_count operator(pg_catalog.>=) 4194304::pg_catalog.int8
      or pg_catalog.clock_timestamp() operator(pg_catalog.>=) stop_at then
      return next pg_catalog.array_prepend('at', reached);
      return;
    end if;
  end loop;
end $$;
comment on function walhook.scan_backfill(oid, smallint[], text, text, jsonb) is
  'Reads rows for a backfill as its caller: what is lock, rows, first, last, top or count. Rows come until there are 500, or 4 MiB of them, or a second is over, each behind a first element that lists the places of values that were left out since it is above most bytes; a row that cannot be read comes as error, message, key. Before them stands table, JSON; behind them at, key, or end.';

create or replace function walhook.create_backfill_function(number bigint, doctype_oid oid, condition text, path text) returns void
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  caller constant text := (select p.proowner::regrole::text from pg_proc p where p.oid = 'walhook.ask(text,text[],text[],text[])'::regprocedure);
  probe constant text := 'walhook_condition.probe_' || md5(random()::text || clock_timestamp());
  key constant smallint[] := walhook.backfill_key(doctype_oid);
  table_name constant text := (select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = doctype_oid);
  token constant text := gen_random_uuid()::text || gen_random_uuid()::text;
begin
  if key is null then
    raise exception '% has no primary key', doctype_oid::regclass using errcode = 'invalid_parameter_value',
      detail = 'A backfill reads its rows in the order of their key.';
  end if;
  -- Refuses what no chunk but the first could be read of.
  perform walhook.key_bound(doctype_oid, key, 'after', to_jsonb(array_fill(null::text, array[cardinality(key)])));
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
    'create function walhook_condition.b%s(pg_catalog.jsonb) returns setof pg_catalog.text[] language plpgsql stable security definer
       set search_path = pg_catalog, pg_temp set timezone = ''UTC'' set datestyle = ''ISO, YMD'' set intervalstyle = ''postgres'' set extra_float_digits = 1
       set bytea_output = ''hex'' set lc_monetary = ''C'' as %L',
    number, format(
      'begin
         if encode(sha256(convert_to(coalesce($1 ->> ''token'', ''''), ''UTF8'')), ''hex'') <> %L then
           raise exception ''only the bridge reads rows by this function'' using errcode = ''insufficient_privilege'';
         end if;
         return query select r from walhook.scan_backfill(%s, %L, %L, %L, $1) as r;
       end', encode(sha256(convert_to(token, 'UTF8')), 'hex'), doctype_oid, key, condition, path)));
  perform walhook.keep_backfill_token(number, token);
  execute format('revoke all on function walhook_condition.b%s(jsonb) from public', number);
  execute format('grant execute on function walhook_condition.b%s(jsonb) to %s', number, caller);
  execute format('comment on function walhook_condition.b%s(jsonb) is %L', number, 'Reads rows for a backfill with the rights of who asked for it.');
end $$;

drop function if exists walhook.backfill_source(oid, text);

drop function if exists walhook.read_backfill(bigint, text, jsonb);
create function walhook.read_backfill(number bigint, what text, input jsonb) returns setof text[]
  language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
  value text[];
  row_count integer := 0;
  byte_count bigint := 0;
begin
  -- As in walhook.ask: whoever has made it something else finds nothing to take here. The functions of others want a token of theirs.
  if exists (select from pg_proc p where p.oid = to_regprocedure(format('walhook_condition.b%s(jsonb)', number))
      and p.prosecdef and p.prokind = 'f' and p.proretset and p.prorettype = 'text[]'::regtype) then
    return query execute format('select r from walhook_condition.b%s($1) as r', number) using input || jsonb_build_object('what', what);
    return;
  end if;
  if not exists (select from pg_proc p where p.oid = to_regprocedure(format('walhook_condition.b%s(text, jsonb)', number))
      and p.prosecdef and p.prokind = 'f' and p.proretset and p.prorettype = 'text[]'::regtype) then
    raise exception 'the function of backfill % is gone, or is another one', number using errcode = 'undefined_function',
      hint = 'Cancel it, and ask for another one, by a condition for the rows that are not done.';
  end if;
  -- One that was begun before file 184: its function reads 500 rows at a time, and knows no key.
  if what in ('lock', 'first', 'top') then return; end if;
  if what = 'count' then
    return query execute format('select array_prepend(''count'', r) from walhook_condition.b%s($1, $2) as r', number) using what, input;
    return;
  end if;
  for value in execute format('select r from walhook_condition.b%s($1, $2) as r', number)
    using case when what = 'last' then 'last' when input ? 'from' then 'keys' when input ? 'after' then 'next' else 'first' end,
          case when input ? 'from' then jsonb_build_array(input -> 'from') else input end
  loop
    value := walhook.fit_row(array_prepend('', value), coalesce((input ->> 'most')::bigint, 16777216));
    return next value;
    row_count := row_count + 1;
    byte_count := byte_count + pg_column_size(value);
    exit when byte_count >= 4194304;
  end loop;
  if what = 'rows' then return next array[case when row_count > 0 then 'at' else 'end' end]; end if;
end $$;
comment on function walhook.read_backfill(bigint, text, jsonb) is
  'Reads rows for a backfill with the rights of who asked for it, see walhook.scan_backfill. Runs as walhook_sandbox; for the bridge alone.';

create or replace function walhook.drop_backfill_function(number bigint) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('drop function if exists walhook_condition.b%s(text, jsonb)', number);
  execute format('drop function if exists walhook_condition.b%s(jsonb)', number);
exception when dependent_objects_still_exist then
  -- Whoever asked for it has made something of theirs depend on it: theirs to keep, and no reason to go on with it.
  raise warning 'the function of backfill % stays: %', number, sqlerrm;
end $$;

-- Asking for one -----------------------------------------------------------------------------------------------------------

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

-- Going on -----------------------------------------------------------------------------------------------------------------

create or replace function walhook.want_backfill(number bigint, wish text) returns boolean
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  present text;
  changed bigint;
begin
  select p.state into present from walhook.backfill_progress p where p.backfill_id = number;
  if present is null then
    raise exception 'there is no backfill %', number using errcode = 'no_data_found', hint = 'They stand in walhook.backfill_progress.';
  end if;
  if present in ('done', 'cancelled') then
    raise notice 'backfill % is %', number, present;
    return false;
  end if;
  update walhook.backfill_request r
     set wanted = wish, resumes = r.resumes + case when wish = 'run' then 1 else 0 end
   where r.id = number and r.wanted <> 'cancel' and (r.wanted <> wish or (wish = 'run' and present = 'failed'));
  get diagnostics changed = row_count;
  return changed > 0;
end $$;
comment on function walhook.want_backfill(bigint, text) is 'Writes what is wanted of a backfill; false where that is so already, or it has ended.';
comment on function walhook.resume_backfill(bigint) is 'Goes on with a backfill that was paused, or has failed, where it was. Mend first what made it fail.';
comment on function walhook.pause_backfill(bigint) is 'Reads no more rows for a backfill until walhook.resume_backfill; what was read is sent.';

create or replace view walhook.backfill_progress as
  select r.id as backfill_id, coalesce(w.name, '') as webhook, r.condition,
         case when s.state = 'failed' and w.id is null then 'cancelled'
              when coalesce(s.state, 'running') = 'running' and r.wanted = 'pause' then 'paused'
              when s.state is null then 'new' else s.state end as state,
         coalesce(s.rows_done, 0) as rows_done, s.rows_estimated, coalesce(s.rows_sent, 0) as rows_sent,
         case when s.state = 'done' then 100.0 when s.rows_estimated > 0 then least(round(100.0 * s.rows_done / s.rows_estimated, 1), 100.0) end as percent,
         case when s.updated_at > s.started_at then round((s.rows_done / extract(epoch from s.updated_at - s.started_at))::numeric, 1) end as rows_per_second,
         case when s.state = 'running' and s.rows_done > 0 and s.updated_at > s.started_at
              then make_interval(secs => least(greatest(s.rows_estimated - s.rows_done, 0) * extract(epoch from s.updated_at - s.started_at)::float8 / s.rows_done, 3e9)) end as time_left,
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
comment on column walhook.backfill_progress.error is 'Why it failed, and what to do; while it runs: why it has to try again.';
comment on column walhook.backfill_progress.waits_for is 'Why nothing moves, and what would change that; NULL: it moves.';

revoke all on table walhook.backfill_token from public;
revoke all on function walhook.keep_backfill_token(bigint, text) from public;
revoke all on function walhook.backfill_queries(oid, smallint[], text, jsonb), walhook.backfill_key(oid), walhook.backfill_reached(jsonb, text[]),
  walhook.fit_row(text[], bigint), walhook.is_of_row(text), walhook.key_bound(oid, smallint[], text, jsonb), walhook.btree_operator(oid, smallint),
  walhook.lock_for_reading(oid), walhook.scan_backfill(oid, smallint[], text, text, jsonb), walhook.read_backfill(bigint, text, jsonb),
  walhook.is_plain_type(oid), walhook.key_is(text, oid, text, text) from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant execute on function walhook.read_backfill(bigint, text, jsonb) to walhook_bridge',
    'grant select on walhook.backfill_token to walhook_bridge',
    'grant execute on function walhook.keep_backfill_token(bigint, text) to walhook_admin',
    'grant execute on function walhook.fit_row(text[], bigint) to walhook_sandbox',
    'grant execute on function walhook.is_plain_type(oid), walhook.key_is(text, oid, text, text) to walhook_admin',
    'grant execute on function walhook.is_plain_type(oid), walhook.key_is(text, oid, text, text) to walhook_analyst',
    'grant execute on function walhook.backfill_queries(oid, smallint[], text, jsonb), walhook.backfill_key(oid), walhook.backfill_reached(jsonb, text[]), '
      'walhook.fit_row(text[], bigint), walhook.is_of_row(text), walhook.key_bound(oid, smallint[], text, jsonb), walhook.btree_operator(oid, smallint), '
      'walhook.lock_for_reading(oid), walhook.scan_backfill(oid, smallint[], text, text, jsonb) to walhook_admin',
    'grant update (wanted, resumes) on walhook.backfill_request to walhook_admin',
    'grant select (waits_for) on walhook.backfill_progress to walhook_monitor'
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

insert into walhook.migration (version, name) values (184, 'backfill_bounds') on conflict do nothing;

commit;
