-- Walhook 125: what the log tells of the way to a receiver, how much of bodies it keeps, and how one delivery's are taken out.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- The way -------------------------------------------------------------------------------------------------------------

alter table walhook.webhook_request_log
  add column if not exists dns_ms real,
  add column if not exists connect_ms real,
  add column if not exists tls_ms real,
  add column if not exists first_byte_ms real,
  add column if not exists remote_address inet,
  add column if not exists key_ids text[],
  add column if not exists request_bytes integer,
  add column if not exists body_kept text;

comment on column walhook.webhook_request_log.duration_ms is
  'Milliseconds in all, from the start of the attempt to the end of its answer: what stands in the other times, and waiting.';
comment on column walhook.webhook_request_log.dns_ms is
  'Milliseconds that the lookup of the host''s name took. NULL: an address stood there, a connection of an earlier request was used, or a proxy looked it up.';
comment on column walhook.webhook_request_log.connect_ms is
  'Milliseconds from the known address to the connection; through a proxy: all until the way to the receiver stood. NULL: a connection of an earlier request was used, or there was none.';
comment on column walhook.webhook_request_log.tls_ms is
  'Milliseconds that TLS took to be agreed. NULL: a connection of an earlier request was used, or there was no TLS.';
comment on column walhook.webhook_request_log.first_byte_ms is
  'Milliseconds from the start of the attempt to the status and headers of the answer; NULL: none came.';
comment on column walhook.webhook_request_log.remote_address is
  'Address that was connected to: the receiver''s, or the proxy''s where there is one. NULL: there was no connection.';
comment on column walhook.webhook_request_log.key_ids is
  'Numbers of the secrets that signed it (walhook.signing_key.id, as text); empty: not signed. Never a secret.';
comment on column walhook.webhook_request_log.request_bytes is 'Bytes of the body that was sent, whatever of it is kept.';
comment on column walhook.webhook_request_log.body_kept is
  'How much of what was sent stands in request_body: whole; part, its beginning (webhook.log_request_bytes); none; batch: in the row of the batch''s first delivery, which has the same request_id; expunged (walhook.expunge). Only what is whole can be sent again from the log. NULL: nothing was sent, or the row is from before this column, and whole.';
comment on column walhook.webhook_request_log.request_headers is
  'Headers sent: of those in a list known to be harmless the values, of all others [redacted]; never a secret or a signature.';
comment on column walhook.webhook_request_log.response_headers is
  'Headers of the answer, likewise: values of a list of harmless ones, of all others [redacted]; cookies are left out.';
comment on column walhook.webhook_request_log.request_body is
  'Body sent, as much as webhook.log_request_bytes says; of a batch on the row of its first delivery only.';
comment on column walhook.webhook_request_log.response_body is
  'Body of the answer, its first 16 KiB or as much as webhook.log_response_bytes says; of a batch on the row of its first delivery only.';
comment on column walhook.webhook_request_log.error_class is
  'Why it failed, in one word: dns, connect, tls, timeout, reset (connection ended without a whole answer), protocol (the answer is no HTTP), proxy, blocked_address, invalid_request, network (anything else on the way), http_status (the answer''s status is the failure); where nothing was sent: body_too_large and others.';

-- What is kept -----------------------------------------------------------------------------------------------------------

alter table walhook.webhook
  add column if not exists log_request_bytes integer
    constraint webhook_log_request_bytes_is_not_negative check (log_request_bytes >= 0),
  add column if not exists log_response_bytes integer
    constraint webhook_log_response_bytes_is_in_range check (log_response_bytes between 0 and 16384);

comment on column walhook.webhook.log_request_bytes is
  'How many bytes of each body sent the log keeps; 0: none; NULL: all. What is not kept whole cannot be sent again from the log (webhook_request_log.body_kept). The queue keeps what it needs for further attempts.';
comment on column walhook.webhook.log_response_bytes is
  'How many bytes of each answer''s body the log keeps, at most 16384; 0: none; NULL: 16384.';

create or replace function walhook.validate_log() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  if new.log_request_bytes < 0 then
    raise exception 'webhook "%": log_request_bytes is %', new.name, new.log_request_bytes using errcode = 'invalid_parameter_value',
      hint = 'NULL keeps the whole body in the log, 0 nothing, a number its first bytes.';
  end if;
  if new.log_response_bytes not between 0 and 16384 then
    raise exception 'webhook "%": log_response_bytes is %', new.name, new.log_response_bytes using errcode = 'invalid_parameter_value',
      hint = 'It is between 0 (nothing is kept of answers) and 16384, beyond which an answer is not read; NULL is 16384.';
  end if;
  return new;
end $$;
comment on function walhook.validate_log() is 'Trigger: refuses sizes that the log cannot keep.';

create or replace trigger webhook_28_log before insert or update on walhook.webhook
  for each row execute function walhook.validate_log();

-- Taking one delivery's bodies out -----------------------------------------------------------------------------------------

create table if not exists walhook.expunged (
  delivery_id text not null,
  log_rows integer not null,
  was_dead_letter boolean not null,
  expunged_by regrole not null,
  expunged_at timestamptz not null default now(),
  constraint expunged_pkey primary key (delivery_id, expunged_at)
);
comment on table walhook.expunged is
  'Deliveries whose bodies were taken out of log and queue, by whom, and when. An INSERT does it: see walhook.expunge.';
comment on column walhook.expunged.delivery_id is 'The webhook-id.';
comment on column walhook.expunged.log_rows is 'How many rows of the log it concerned. Filled by trigger.';
comment on column walhook.expunged.was_dead_letter is 'Whether it was a dead letter, which has been cancelled. Filled by trigger.';
comment on column walhook.expunged.expunged_by is 'Who did it. Filled by trigger.';
comment on column walhook.expunged.expunged_at is 'When. Filled by trigger.';

create or replace function walhook.set_expunger() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.expunged_by := quote_ident(current_user)::regrole;
  new.expunged_at := now();
  return new;
end $$;
comment on function walhook.set_expunger() is 'Trigger: who expunges is written down, whatever the statement says. Runs as the caller, whose name it takes.';

create or replace function walhook.without_payload(body text, delivery_id text) returns text
  language plpgsql immutable set search_path = pg_catalog, pg_temp
as $$
begin
  -- Type json, not jsonb: what the others were sent stays byte for byte.
  return (
    select '[' || string_agg(case when e.element ->> 'id' = delivery_id
      then json_build_object('id', delivery_id, 'payload', null)::text else e.element::text end, ',' order by e.n) || ']'
    from json_array_elements(body::json) with ordinality as e (element, n)
    having bool_or(e.element ->> 'id' = delivery_id));
exception when data_exception or invalid_text_representation or invalid_parameter_value then
  -- Kept in part only: nobody can tell where whose payload is.
  return null;
end $$;
comment on function walhook.without_payload(text, text) is
  'The body of a batch with null in place of one delivery''s payload; NULL where the text is not a whole batch with it.';

create or replace function walhook.expunge_bodies() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  dead boolean;
  batch record;
  logged integer;
  url_origin constant text := '^[a-zA-Z]+://[^/?#]+';
begin
  select q.is_dead into dead from walhook.webhook_queue q where q.delivery_id = new.delivery_id for update;
  if dead = false then
    raise exception 'delivery % has not ended: it waits in walhook.webhook_queue for another attempt, which needs its body', new.delivery_id
      using errcode = 'object_in_use',
      hint = 'Ask again when it was delivered or given up; retry_schedule = ''{}'' on its webhook lets its next attempt be the last one.';
  end if;
  new.was_dead_letter := coalesce(dead, false);

  -- Where it went with others, the body stands in the row of their first.
  for batch in
    select l.sent_at, l.request_id from walhook.webhook_request_log l
     where l.delivery_id = new.delivery_id and l.request_id <> l.delivery_id
  loop
    update walhook.webhook_request_log l
       set request_body = walhook.without_payload(l.request_body, new.delivery_id), response_body = null,
           body_kept = case when walhook.without_payload(l.request_body, new.delivery_id) is null and l.request_body is not null
                            then 'expunged' else l.body_kept end
     where l.sent_at = batch.sent_at and l.request_id = batch.request_id
       and (l.request_body is not null or l.response_body is not null);
  end loop;

  update walhook.webhook_request_log l
     set request_body = case when l.request_id <> l.delivery_id then l.request_body end,
         response_body = null,
         body_kept = case when l.attempt > 0 then 'expunged' end,
         -- A dynamic URL is made of the row; an error before the first attempt may quote it.
         url = substring(l.url from url_origin),
         error = case when l.attempt = 0 and l.error is not null then '[expunged]' else l.error end
   where l.delivery_id = new.delivery_id;
  get diagnostics logged = row_count;
  new.log_rows := logged;

  if new.was_dead_letter then
    update walhook.webhook_queue q set body = null, url = null, headers = null, change = null where q.delivery_id = new.delivery_id;
  elsif logged = 0 then
    raise exception 'there is no delivery %', new.delivery_id using errcode = 'no_data_found',
      hint = 'Ids stand in walhook.webhook_request_log.delivery_id, from the end of its first attempt on.';
  end if;
  return new;
end $$;
comment on function walhook.expunge_bodies() is
  'Trigger: takes the bodies of a delivery out of log and queue. SECURITY DEFINER: who expunges may neither read nor write these tables.';

create or replace function walhook.cancel_expunged() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  insert into walhook.repair (kind, webhook_id, delivery_id)
    select 'cancel', q.webhook_id, q.delivery_id from walhook.webhook_queue q where q.delivery_id = new.delivery_id and q.is_dead;
  return null;
end $$;
comment on function walhook.cancel_expunged() is
  'Trigger: asks the bridge to cancel a dead letter that has nothing to send any more. Runs as the caller, who is named in its log row.';

create or replace trigger expunged_10_expunger before insert on walhook.expunged
  for each row execute function walhook.set_expunger();
create or replace trigger expunged_20_bodies before insert on walhook.expunged
  for each row execute function walhook.expunge_bodies();
create or replace trigger expunged_30_cancel after insert on walhook.expunged
  for each row when (new.was_dead_letter) execute function walhook.cancel_expunged();

create or replace function walhook.expunge(delivery_id text) returns integer
  language sql security invoker set search_path = pg_catalog, pg_temp
as $$ insert into walhook.expunged (delivery_id) values (delivery_id) returning log_rows $$;
comment on function walhook.expunge(text) is
  'Takes everything that a delivery carried out of log and queue: bodies sent, answers, rendered URLs and header values; a dead letter is cancelled. What is left tells that it was sent, when, and how it ended. Refused while another attempt is to come. Returns how many rows of the log it concerned; who and when stand in walhook.expunged.';

-- Rights --------------------------------------------------------------------------------------------------------------

revoke all on function walhook.validate_log(), walhook.set_expunger(), walhook.without_payload(text, text), walhook.expunge_bodies(),
  walhook.cancel_expunged(), walhook.expunge(text) from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.expunged to walhook_bridge',
    'grant select on walhook.expunged to walhook_analyst',
    'grant select, insert (delivery_id) on walhook.expunged to walhook_admin',
    'grant execute on function walhook.validate_log(), walhook.set_expunger(), walhook.cancel_expunged(), walhook.expunge(text) to walhook_admin',
    'grant select (dns_ms, connect_ms, tls_ms, first_byte_ms, key_ids, request_bytes, body_kept) on walhook.webhook_request_log to walhook_monitor'
  ]);
end $$;

insert into walhook.migration (version, name) values (125, 'log_details') on conflict do nothing;

commit;
