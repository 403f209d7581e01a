-- Walhook 095: several events in one request.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

alter table walhook.webhook
  add column if not exists batch_size integer not null default 1
    constraint webhook_batch_size_is_in_range check (batch_size between 1 and 1000),
  add column if not exists batch_window interval not null default '0 s'
    constraint webhook_batch_window_is_in_range check (batch_window between '0 s' and '60 s'),
  add column if not exists batch_window_ms integer not null default 0;

comment on column walhook.webhook.batch_size is
  'How many events one request may carry, 1 to 1000. More than 1: the body is an array of {"id", "payload"}, in commit order, also where it is one event.';
comment on column walhook.webhook.batch_window is
  'How long an event may wait for others while a request is under way, 0 to 60 s; 0: until that request ends. Where none is under way it never waits.';
comment on column walhook.webhook.batch_window_ms is 'batch_window in milliseconds. Filled by trigger.';

create or replace function walhook.validate_batches() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  templated text;
begin
  if new.batch_size is null or new.batch_size not between 1 and 1000 then
    raise exception 'webhook "%": batch_size is %', new.name, coalesce(new.batch_size::text, 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'It is between 1 (each event by itself) and 1000.';
  end if;
  if new.batch_window is null or new.batch_window not between interval '0 s' and interval '60 s' then
    raise exception 'webhook "%": batch_window is %', new.name, coalesce(new.batch_window::text, 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'It is between 0 s and 60 s.';
  end if;
  new.batch_window_ms := extract(epoch from new.batch_window) * 1000;
  if new.batch_size = 1 then return new; end if;
  if new.request_structure <> 'JSON' then
    raise exception 'webhook "%": a batch cannot be form-encoded', new.name using errcode = 'invalid_parameter_value',
      hint = 'Set batch_size = 1, or request_structure = ''JSON''.';
  end if;
  if new.is_dynamic_url then
    raise exception 'webhook "%": a batch has one URL for all its events', new.name using errcode = 'invalid_parameter_value',
      hint = 'Set batch_size = 1, or is_dynamic_url = false.';
  end if;
  select h.key into templated from walhook.webhook_header h where h.webhook_id = new.id and h.value ~ '\{\{' order by h.id limit 1;
  if templated is not null then
    raise exception 'webhook "%": a batch has one header % for all its events, and this one is a template', new.name, templated
      using errcode = 'invalid_parameter_value', hint = 'Set batch_size = 1, or a value without {{ }}.';
  end if;
  return new;
end $$;
comment on function walhook.validate_batches() is 'Trigger: refuses batches of what belongs to a single event; fills batch_window_ms.';

create or replace trigger webhook_24_batches before insert or update on walhook.webhook
  for each row execute function walhook.validate_batches();

alter table walhook.webhook_queue add column if not exists batch_id text;
comment on column walhook.webhook_queue.batch_id is
  'The batch in which it was sent before, and will be again with the same others: a batch keeps its id and its bytes. NULL: none yet.';
create index if not exists webhook_queue_batch_idx on walhook.webhook_queue (batch_id) where batch_id is not null;

comment on column walhook.webhook_request_log.request_id is
  'The webhook-id of the HTTP request: the delivery''s own, or that of the batch, which several deliveries share.';
comment on column walhook.webhook_request_log.request_body is 'Body sent; of a batch on the row of its first delivery only.';
comment on column walhook.webhook_request_log.response_body is 'Body of the answer, its beginning; of a batch on the row of its first delivery only.';

revoke all on function walhook.validate_batches() from public;
do $$
begin
  if exists (select from pg_catalog.pg_roles r where r.rolname = 'walhook_admin') then
    grant execute on function walhook.validate_batches() to walhook_admin;
  end if;
end $$;

insert into walhook.migration (version, name) values (95, 'batches') on conflict do nothing;

commit;
