-- Walhook 188: an INSERT refuses every template that the bridge could not read.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.template_problem(template text) returns text
  language plpgsql immutable strict set search_path = pg_catalog, pg_temp
as $$
declare
  blank constant text := E' \t\n\v\f\r';
  rest text := template;
  opened text[] := '{}';
  closing text;
  kind text;
  tag text;
  name text;
  at integer;
begin
  loop
    at := position('{{' in rest);
    exit when at = 0;
    rest := substr(rest, at + 2);
    tag := rest;
    rest := ltrim(rest, blank);
    kind := case when left(rest, 1) in ('#', '^', '/', '>', '{', '&', '=', '!') then left(rest, 1) else '' end;
    rest := ltrim(substr(rest, length(kind) + 1), blank);
    closing := case kind when '{' then '}}}' else '}}' end;
    at := position(closing in rest);
    if at = 0 then return format('{{%s … is not closed by %s', left(tag, 20), closing); end if;
    name := rtrim(left(rest, at - 1), blank);
    rest := substr(rest, at + length(closing));
    continue when kind = '!';
    if kind = '>' then return format('{{>%s}}: partials do not exist here', name); end if;
    if kind = '=' then return 'a change of delimiters ({{=…=}}) is not supported'; end if;
    if kind = '/' then
      if cardinality(opened) = 0 then return format('{{/%s}} closes a section that was never opened', name); end if;
      if opened[cardinality(opened)] <> name then
        return format('{{/%s}} closes the section {{#%s}}', name, opened[cardinality(opened)]);
      end if;
      opened := trim_array(opened, 1);
      continue;
    end if;
    if kind in ('#', '^') then opened := opened || name; end if;
    if name = 'json' and kind in ('#', '^') then
      at := position('{{' in rest);
      continue when at = 0;
      name := btrim(left(rest, at - 1), blank);
      if kind = '^' or name = '' or substr(rest, at) !~ '^[{]{2}[[:space:]]*/[[:space:]]*json[[:space:]]*[}]{2}' then
        return '{{#json}} takes one name, as in {{#json}}doc.total{{/json}}';
      end if;
    end if;
    continue when name = '.';
    if name = '' then return '{{}} names nothing'; end if;
    if left(name, 1) in ('$', '<') then return format('{{%s}}: blocks and parents do not exist here', name); end if;
    if '' = any (string_to_array(name, '.')) then return format('"%s" is no name: a part of it is empty', name); end if;
  end loop;
  if cardinality(opened) > 0 then return format('the section {{#%s}} is not closed', opened[cardinality(opened)]); end if;
  return null;
end $$;
comment on function walhook.template_problem(text) is
  'Why the bridge could not read a Mustache template; NULL where it can. The rules are those of src/render/template.ts.';

insert into walhook.migration (version, name) values (188, 'templates') on conflict do nothing;

commit;
