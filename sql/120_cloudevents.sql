-- Walhook 120: bodies as CloudEvents 1.0, and the handshake of its specification for webhooks.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

alter table walhook.webhook
  add column if not exists payload_format text not null default 'plain'
    constraint webhook_payload_format_is_known check (payload_format in ('plain', 'cloudevents-structured', 'cloudevents-binary')),
  add column if not exists cloudevents_source text
    constraint webhook_cloudevents_source_is_uri check (cloudevents_source ~ '^([A-Za-z0-9._~:/?#@!$&''()*+,;=-]|%[0-9A-Fa-f]{2}|[[]|[]])+$' and char_length(cloudevents_source) <= 1000),
  add column if not exists handshake boolean not null default false,
  add column if not exists handshake_origin text not null default 'walhook'
    constraint webhook_handshake_origin_is_name check (
      handshake_origin ~ '^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$'
      and char_length(handshake_origin) <= 253);

comment on column walhook.webhook.payload_format is
  'plain: the body by itself. cloudevents-structured: a CloudEvent as JSON with the body as its data. cloudevents-binary: the body as data, the event''s attributes in ce-* headers.';
comment on column walhook.webhook.cloudevents_source is
  'The attribute source of its CloudEvents, a URI reference. Filled in by trigger where it is NULL: /walhook/<database>/<schema>.<table>.';
comment on column walhook.webhook.handshake is
  'Whether the receiver is asked for consent by OPTIONS before anything is sent, as the webhook specification of CloudEvents says. While it has not given it, deliveries wait in the queue.';
comment on column walhook.webhook.handshake_origin is
  'With handshake: the DNS name by which the receiver knows this sender (WebHook-Request-Origin), sent with each delivery as well.';

create or replace function walhook.uri_part(part text) returns text
  language sql immutable strict set search_path = pg_catalog, pg_temp
as $$
  select coalesce(string_agg(
    case when c.letter ~ '^[A-Za-z0-9._~-]$' then c.letter
         else regexp_replace(upper(encode(convert_to(c.letter, 'UTF8'), 'hex')), '(..)', '%\1', 'g') end, '' order by c.n), '')
  from regexp_split_to_table(part, '') with ordinality as c (letter, n)
$$;
comment on function walhook.uri_part(text) is 'A text as one step of a URI''s path: percent-encoded as UTF-8, but for letters, digits, and ._~-.';

create or replace function walhook.default_cloudevents_source(relation oid) returns text
  language sql stable strict set search_path = pg_catalog, pg_temp
as $$
  select '/walhook/' || walhook.uri_part(current_database()::text) || '/' || walhook.uri_part(n.nspname::text) || '.' || walhook.uri_part(c.relname::text)
  from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = relation
$$;
comment on function walhook.default_cloudevents_source(oid) is 'The source of CloudEvents about a table where its webhook names no other.';

create or replace function walhook.validate_cloudevents() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  header text;
begin
  if new.payload_format is null or new.payload_format not in ('plain', 'cloudevents-structured', 'cloudevents-binary') then
    raise exception 'webhook "%": payload_format is "%"', new.name, coalesce(new.payload_format, 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'There are plain, cloudevents-structured and cloudevents-binary.';
  end if;
  if new.handshake then
    if new.is_dynamic_url then
      raise exception 'webhook "%": a handshake needs one URL, and this one is rendered for each event', new.name
        using errcode = 'invalid_parameter_value', detail = 'The receiver at each URL would have to be asked by itself.',
        hint = 'Set handshake = false, or is_dynamic_url = false.';
    elsif new.request_method <> 'POST' then
      raise exception 'webhook "%": a handshake asks for consent to POST, and request_method is %', new.name, new.request_method
        using errcode = 'invalid_parameter_value', hint = 'Set handshake = false, or request_method = ''POST''.';
    elsif new.handshake_origin is null or char_length(new.handshake_origin) > 253
      or new.handshake_origin !~ '^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$' then
      raise exception 'webhook "%": handshake_origin "%" is no DNS name', new.name, coalesce(new.handshake_origin, 'NULL')
        using errcode = 'invalid_parameter_value', hint = 'The name by which receivers know this sender, for example shop.example.com.';
    end if;
    select h.key into header from walhook.webhook_header h
     where h.webhook_id = new.id and lower(h.key) ~ '^webhook-(request|allowed)-' order by h.id limit 1;
    if header is not null then
      raise exception 'webhook "%": header % belongs to the handshake', new.name, header using errcode = 'invalid_parameter_value',
        hint = 'handshake_origin is what WebHook-Request-Origin says. Delete the row of walhook.webhook_header, or set handshake = false.';
    end if;
  end if;
  if new.payload_format = 'plain' then return new; end if;

  if new.request_structure <> 'JSON' then
    raise exception 'webhook "%": a CloudEvent here carries JSON, and cannot be form-encoded', new.name using errcode = 'invalid_parameter_value',
      hint = 'Set request_structure = ''JSON'', or payload_format = ''plain''.';
  end if;
  if new.payload_format = 'cloudevents-binary' and new.batch_size > 1 then
    raise exception 'webhook "%": CloudEvents has no batches in binary mode', new.name using errcode = 'invalid_parameter_value',
      detail = 'The attributes are headers of the request, and a request has one set of them.',
      hint = 'Set batch_size = 1, or payload_format = ''cloudevents-structured''.';
  end if;
  select h.key into header from walhook.webhook_header h
   where h.webhook_id = new.id
     and (lower(h.key) ~ '^ce-' or (lower(h.key) = 'content-type' and new.payload_format = 'cloudevents-structured'))
   order by h.id limit 1;
  if header is not null then
    raise exception 'webhook "%": header % belongs to the CloudEvent', new.name, header using errcode = 'invalid_parameter_value',
      hint = format('Delete the row of walhook.webhook_header, or set payload_format = %L.',
        case when lower(header) = 'content-type' then 'cloudevents-binary' else 'plain' end);
  end if;
  if new.cloudevents_source is null
    or (tg_op = 'UPDATE' and new.doctype_oid <> old.doctype_oid and new.cloudevents_source is not distinct from old.cloudevents_source
        and old.cloudevents_source = walhook.default_cloudevents_source(old.doctype_oid)) then
    new.cloudevents_source := walhook.default_cloudevents_source(new.doctype_oid);
  elsif char_length(new.cloudevents_source) > 1000
    or new.cloudevents_source !~ '^([A-Za-z0-9._~:/?#@!$&''()*+,;=-]|%[0-9A-Fa-f]{2}|[[]|[]])+$' then
    raise exception 'webhook "%": cloudevents_source "%" is no URI reference', new.name, left(new.cloudevents_source, 100)
      using errcode = 'invalid_parameter_value',
      hint = format('For example %s, or NULL for that one. Other characters are percent-encoded; at most 1000.', walhook.default_cloudevents_source(new.doctype_oid));
  end if;
  return new;
end $$;
comment on function walhook.validate_cloudevents() is
  'Trigger: refuses what is no CloudEvent and what no receiver could be asked about; fills cloudevents_source.';

-- After those that check method, table and batches.
create or replace trigger webhook_27_cloudevents before insert or update on walhook.webhook
  for each row execute function walhook.validate_cloudevents();

comment on column walhook.webhook_state.state is
  'ok, or why it does not send: held (its author lost a right, it cannot sign, or its receiver has not consented), blocked (it may not go to its address), invalid, disabled, undecided.';

revoke all on function walhook.uri_part(text), walhook.default_cloudevents_source(oid), walhook.validate_cloudevents() from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant execute on function walhook.uri_part(text), walhook.default_cloudevents_source(oid), walhook.validate_cloudevents() to walhook_admin'
  ]);
end $$;

insert into walhook.migration (version, name) values (120, 'cloudevents') on conflict do nothing;

commit;
