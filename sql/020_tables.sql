-- Walhook 020: tables and publications.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- Configuration: what people write ------------------------------------------------------------------------------

create table if not exists walhook.webhook (
  id integer generated always as identity constraint webhook_pkey primary key,
  name text not null
    constraint webhook_name_key unique
    constraint webhook_name_is_printable check (name ~ '^[^[:cntrl:]]+$' and name = btrim(name) and char_length(name) <= 200),
  webhook_doctype regclass not null,
  webhook_docevent text not null constraint webhook_docevent_is_not_empty check (webhook_docevent <> ''),
  enabled boolean not null default true,
  condition text constraint webhook_condition_is_not_empty check (btrim(condition) <> ''),
  request_url text not null constraint webhook_url_is_absolute check (is_dynamic_url or request_url ~* '^https?://[^/?#[:space:]]'),
  is_dynamic_url boolean not null default false,
  request_method text not null default 'POST'
    constraint webhook_method_is_known check (request_method in ('POST', 'PUT', 'PATCH', 'DELETE')),
  request_structure text not null default 'JSON'
    constraint webhook_structure_is_known check (request_structure in ('JSON', 'Form URL-Encoded')),
  webhook_json text constraint webhook_json_is_not_empty check (btrim(webhook_json) <> ''),
  timeout interval not null default '5 s'
    constraint webhook_timeout_is_in_range check (timeout between '1 ms' and '60 s'),
  enable_security boolean not null default false,
  webhook_secret text constraint webhook_secret_is_hidden check (webhook_secret like '***%'),
  allow_replica_identity_full boolean not null default false,
  doctype_oid oid not null,
  doctype text not null,
  author regrole not null,
  revision integer not null default 1,
  condition_function text,
  condition_columns text[],
  condition_uses_old boolean,
  condition_is_immutable boolean,
  timeout_ms integer not null,
  created_at timestamptz not null default now(),
  modified_at timestamptz not null default now(),
  constraint webhook_security_has_secret check (not enable_security or webhook_secret is not null)
);
create index if not exists webhook_doctype_oid_idx on walhook.webhook (doctype_oid);

comment on table walhook.webhook is
  'One row a webhook: which events of which table are sent where. Four columns suffice: name, webhook_doctype, webhook_docevent, request_url.';
comment on column walhook.webhook.id is 'Immutable number; part of every delivery''s id.';
comment on column walhook.webhook.name is 'Unique name; may be changed.';
comment on column walhook.webhook.webhook_doctype is 'The table that is watched; of a partitioned table its root.';
comment on column walhook.webhook.webhook_docevent is
  'One doc event or several, separated by commas: after_insert, on_update, on_change, on_trash, on_submit, on_cancel, on_update_after_submit, on_truncate.';
comment on column walhook.webhook.enabled is 'false: new events do not match, open deliveries are held.';
comment on column walhook.webhook.condition is
  'SQL boolean expression over doc, old and event; only where it is true the webhook fires. Runs as the author.';
comment on column walhook.webhook.request_url is 'Absolute http or https URL; a Mustache template where is_dynamic_url.';
comment on column walhook.webhook.is_dynamic_url is 'Whether request_url is a Mustache template, rendered for each event.';
comment on column walhook.webhook.request_method is 'POST, PUT, PATCH or DELETE.';
comment on column walhook.webhook.request_structure is 'JSON or Form URL-Encoded.';
comment on column walhook.webhook.webhook_json is 'Mustache template of the body; its result must be JSON.';
comment on column walhook.webhook.timeout is 'How long an attempt may take, 1 ms to 60 s.';
comment on column walhook.webhook.enable_security is 'Whether requests are signed with webhook_secret.';
comment on column walhook.webhook.webhook_secret is
  'Write the secret here; it is moved to a table that only the bridge reads, and *** stays. NULL removes it.';
comment on column walhook.webhook.allow_replica_identity_full is
  'Allows REPLICA IDENTITY FULL on a table with more than 8 MB of toasted values, which puts all of them into the WAL at each UPDATE.';
comment on column walhook.webhook.doctype_oid is 'OID of webhook_doctype. Filled by trigger.';
comment on column walhook.webhook.doctype is 'Name of the table when the row was last changed; with its schema unless public. Filled by trigger.';
comment on column walhook.webhook.author is
  'The last role that changed anything that decides what is sent or where; its rights bound what the webhook can read. Filled by trigger.';
comment on column walhook.webhook.revision is 'Counts the changes of the condition. Filled by trigger.';
comment on column walhook.webhook.condition_function is 'The condition as a function in schema walhook_condition. Filled by trigger.';
comment on column walhook.webhook.condition_columns is 'The columns that the condition could read. Filled by trigger.';
comment on column walhook.webhook.condition_uses_old is 'Whether the condition reads old. Filled by trigger.';
comment on column walhook.webhook.condition_is_immutable is 'Whether the condition depends on doc, old and event alone. Filled by trigger.';
comment on column walhook.webhook.timeout_ms is 'timeout in milliseconds. Filled by trigger.';
comment on column walhook.webhook.created_at is 'When the row was made.';
comment on column walhook.webhook.modified_at is 'When the row, or one of its header or data rows, was last changed.';

create table if not exists walhook.webhook_header (
  id integer generated always as identity constraint webhook_header_pkey primary key,
  webhook text not null
    constraint webhook_header_webhook_fkey references walhook.webhook (name) on update cascade on delete cascade,
  webhook_id integer not null,
  key text not null constraint webhook_header_key_is_token check (key ~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$'),
  value text not null constraint webhook_header_value_is_one_line check (value !~ '[\x01-\x08\x0a-\x1f\x7f]')
);
create index if not exists webhook_header_webhook_idx on walhook.webhook_header (webhook);
comment on table walhook.webhook_header is 'Request headers of a webhook, sent in the order of id.';
comment on column walhook.webhook_header.id is 'Number of the row; decides the order.';
comment on column walhook.webhook_header.webhook is 'Name of the webhook.';
comment on column walhook.webhook_header.webhook_id is 'Number of the webhook. Filled by trigger.';
comment on column walhook.webhook_header.key is 'Name of the header.';
comment on column walhook.webhook_header.value is 'Value of the header; may be a Mustache template.';

create table if not exists walhook.webhook_data (
  id integer generated always as identity constraint webhook_data_pkey primary key,
  webhook text not null
    constraint webhook_data_webhook_fkey references walhook.webhook (name) on update cascade on delete cascade,
  webhook_id integer not null,
  fieldname text not null constraint webhook_data_fieldname_is_not_empty check (fieldname <> ''),
  key text not null constraint webhook_data_key_is_not_empty check (key <> '')
);
create index if not exists webhook_data_webhook_idx on walhook.webhook_data (webhook);
comment on table walhook.webhook_data is 'Columns that make up the body of a webhook, in the order of id.';
comment on column walhook.webhook_data.id is 'Number of the row; decides the order.';
comment on column walhook.webhook_data.webhook is 'Name of the webhook.';
comment on column walhook.webhook_data.webhook_id is 'Number of the webhook. Filled by trigger.';
comment on column walhook.webhook_data.fieldname is 'Column of the table.';
comment on column walhook.webhook_data.key is 'Its key in the body; the column''s name where not given.';

create table if not exists walhook.webhook_secret (
  webhook_id integer constraint webhook_secret_pkey primary key
    constraint webhook_secret_webhook_id_fkey references walhook.webhook (id) on delete cascade deferrable initially deferred,
  secret text not null constraint webhook_secret_is_not_empty check (secret <> '')
);
comment on table walhook.webhook_secret is 'Signing secrets; readable by the bridge alone. Written by the trigger on walhook.webhook.';
comment on column walhook.webhook_secret.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_secret.secret is 'The secret''s text: whsec_ and base64, or any other text.';

-- An UPDATE beside a long template would leave the template out of the stream.
alter table walhook.webhook replica identity full;
alter table walhook.webhook_header replica identity full;
alter table walhook.webhook_data replica identity full;
alter table walhook.webhook_secret replica identity full;

create table if not exists walhook.replica_identity (
  relation regclass constraint replica_identity_pkey primary key,
  former "char" not null constraint replica_identity_former_is_known check (former in ('d', 'i', 'n')),
  former_index text,
  replaced_at timestamptz not null default now(),
  constraint replica_identity_index_has_name check ((former = 'i') = (former_index is not null))
);
comment on table walhook.replica_identity is 'Tables that Walhook set to REPLICA IDENTITY FULL, and what to restore when the need ends.';
comment on column walhook.replica_identity.relation is 'The table or partition.';
comment on column walhook.replica_identity.former is 'pg_class.relreplident as it was: d default, i index, n nothing.';
comment on column walhook.replica_identity.former_index is 'Name of the index where former is i.';
comment on column walhook.replica_identity.replaced_at is 'When FULL was set.';

-- What the bridge writes --------------------------------------------------------------------------------------

create table if not exists walhook.webhook_in_force (
  webhook_id integer constraint webhook_in_force_pkey primary key,
  definition jsonb not null constraint webhook_in_force_definition_is_object check (jsonb_typeof(definition) = 'object')
);
comment on table walhook.webhook_in_force is
  'The webhooks as they are in force at the bridge''s cursor; changed only where the cursor passes a transaction that changed the configuration.';
comment on column walhook.webhook_in_force.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_in_force.definition is
  'Its rows as texts: {"webhook": {column: text}, "headers": [...], "data": [...], "secret": text}. Holds the secret: readable by the bridge alone.';

create table if not exists walhook.webhook_state (
  webhook_id integer constraint webhook_state_pkey primary key,
  name text not null,
  state text not null default 'ok',
  consecutive_failures integer not null default 0,
  last_error text,
  last_error_at timestamptz,
  last_delivered_at timestamptz,
  updated_at timestamptz not null default now()
);
comment on table walhook.webhook_state is 'What the bridge has to say about a webhook.';
comment on column walhook.webhook_state.webhook_id is 'Number of the webhook; it may be deleted already.';
comment on column walhook.webhook_state.name is 'Its name when the row was written.';
comment on column walhook.webhook_state.state is 'ok, or why it does not send: for example held, failing.';
comment on column walhook.webhook_state.consecutive_failures is 'Failed attempts since the last success.';
comment on column walhook.webhook_state.last_error is 'The last error, with its remedy where there is one.';
comment on column walhook.webhook_state.last_error_at is 'When it happened.';
comment on column walhook.webhook_state.last_delivered_at is 'When a delivery last succeeded.';
comment on column walhook.webhook_state.updated_at is 'When the row was written.';

create table if not exists walhook.webhook_request_log (
  sent_at timestamptz not null,
  delivery_id text not null,
  attempt integer not null,
  request_id text,
  webhook_id integer not null,
  webhook text not null,
  doctype text not null,
  docname text,
  docevent text not null,
  source text not null constraint webhook_request_log_source_is_known check (source in ('live', 'backfill', 'replay', 'test')),
  outcome text not null constraint webhook_request_log_outcome_is_known
    check (outcome in ('delivered', 'retry', 'dead', 'blocked', 'cancelled', 'undecidable', 'error')),
  status_code integer,
  duration_ms real,
  error_class text,
  error text,
  lsn pg_lsn,
  xid bigint,
  commit_time timestamptz,
  url text,
  method text,
  request_headers jsonb,
  request_body text,
  response_headers jsonb,
  response_body text,
  constraint webhook_request_log_pkey primary key (delivery_id, attempt, sent_at)
) partition by range (sent_at);
create index if not exists webhook_request_log_sent_at_idx on walhook.webhook_request_log using brin (sent_at);
create index if not exists webhook_request_log_lsn_idx on walhook.webhook_request_log using brin (lsn);
create index if not exists webhook_request_log_document_idx on walhook.webhook_request_log (doctype, docname, sent_at);
create table if not exists walhook.webhook_request_log_default partition of walhook.webhook_request_log default;

comment on table walhook.webhook_request_log is 'One row a delivery and attempt; append-only, one partition a UTC day of sent_at.';
comment on table walhook.webhook_request_log_default is 'Rows of days that have no partition of their own.';
comment on column walhook.webhook_request_log.sent_at is 'When the attempt began; where nothing was sent, when that was settled.';
comment on column walhook.webhook_request_log.delivery_id is 'The webhook-id: equal over attempts, restarts and replays.';
comment on column walhook.webhook_request_log.attempt is 'Number of the attempt, from 1; 0 where nothing was sent.';
comment on column walhook.webhook_request_log.request_id is 'Id of the HTTP request; several deliveries of a batch share it.';
comment on column walhook.webhook_request_log.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_request_log.webhook is 'Name of the webhook when the event was matched.';
comment on column walhook.webhook_request_log.doctype is 'The table.';
comment on column walhook.webhook_request_log.docname is 'Primary key of the row as text; NULL where the table has none.';
comment on column walhook.webhook_request_log.docevent is 'What happened to it.';
comment on column walhook.webhook_request_log.source is 'live, backfill, replay or test.';
comment on column walhook.webhook_request_log.outcome is
  'delivered, retry (another attempt follows), dead (given up), blocked (address not allowed), cancelled (webhook deleted), undecidable (the WAL does not carry a value it needs), error.';
comment on column walhook.webhook_request_log.status_code is 'HTTP status of the answer.';
comment on column walhook.webhook_request_log.duration_ms is 'Milliseconds from the start of the attempt to the end of its answer.';
comment on column walhook.webhook_request_log.error_class is 'Kind of the error, for grouping.';
comment on column walhook.webhook_request_log.error is 'The error in words.';
comment on column walhook.webhook_request_log.lsn is 'Commit LSN of the change.';
comment on column walhook.webhook_request_log.xid is 'Its transaction.';
comment on column walhook.webhook_request_log.commit_time is 'When it was committed.';
comment on column walhook.webhook_request_log.url is 'Where the request went.';
comment on column walhook.webhook_request_log.method is 'HTTP method.';
comment on column walhook.webhook_request_log.request_headers is 'Headers sent, secrets redacted.';
comment on column walhook.webhook_request_log.request_body is 'Body sent.';
comment on column walhook.webhook_request_log.response_headers is 'Headers of the answer.';
comment on column walhook.webhook_request_log.response_body is 'Body of the answer, its beginning.';

create table if not exists walhook.webhook_queue (
  delivery_id text constraint webhook_queue_pkey primary key,
  webhook_id integer not null,
  webhook text not null,
  kind text not null constraint webhook_queue_kind_is_known check (kind in ('request', 'undecided')),
  doctype text not null,
  docname text,
  old_docname text,
  is_barrier boolean not null default false,
  docevent text not null,
  source text not null,
  commit_lsn pg_lsn not null,
  change_lsn pg_lsn not null,
  change_index integer not null,
  event_number smallint not null,
  xid bigint not null,
  commit_time timestamptz not null,
  attempts integer not null default 0,
  due_at timestamptz,
  last_error text,
  is_dead boolean not null default false,
  method text,
  url text,
  content_type text,
  headers jsonb,
  body bytea,
  change jsonb,
  queued_at timestamptz not null default now()
);
create index if not exists webhook_queue_due_at_idx on walhook.webhook_queue (due_at) where due_at is not null and not is_dead;
create index if not exists webhook_queue_docname_idx
  on walhook.webhook_queue (webhook_id, docname, commit_lsn, change_lsn, change_index, event_number);
create index if not exists webhook_queue_old_docname_idx
  on walhook.webhook_queue (webhook_id, old_docname, commit_lsn, change_lsn, change_index, event_number)
  where old_docname is not null;
create index if not exists webhook_queue_barrier_idx on walhook.webhook_queue (webhook_id) where is_barrier;

comment on table walhook.webhook_queue is 'Deliveries that have not ended yet; empty on a good day.';
comment on column walhook.webhook_queue.delivery_id is 'The webhook-id.';
comment on column walhook.webhook_queue.webhook_id is 'Number of the webhook.';
comment on column walhook.webhook_queue.webhook is 'Name of the webhook when the event was matched.';
comment on column walhook.webhook_queue.kind is 'request: frozen bytes that wait to be sent; undecided: a change that waits for its condition.';
comment on column walhook.webhook_queue.doctype is 'The table.';
comment on column walhook.webhook_queue.docname is 'Primary key of the row as text.';
comment on column walhook.webhook_queue.old_docname is 'The key before, where the change altered it.';
comment on column walhook.webhook_queue.is_barrier is 'Whether it must be alone: everything earlier of its webhook first, everything later after it (TRUNCATE).';
comment on column walhook.webhook_queue.docevent is 'What happened.';
comment on column walhook.webhook_queue.source is 'live, backfill, replay or test.';
comment on column walhook.webhook_queue.commit_lsn is 'Position: LSN of the commit.';
comment on column walhook.webhook_queue.change_lsn is 'Position: LSN of the change.';
comment on column walhook.webhook_queue.change_index is 'Position: index of the change at its LSN.';
comment on column walhook.webhook_queue.event_number is 'Number of the doc event: the order of events of one change.';
comment on column walhook.webhook_queue.xid is 'The transaction.';
comment on column walhook.webhook_queue.commit_time is 'When it was committed.';
comment on column walhook.webhook_queue.attempts is 'Attempts made so far.';
comment on column walhook.webhook_queue.due_at is 'When it is tried next; NULL: blocked behind an earlier one of its lane.';
comment on column walhook.webhook_queue.last_error is 'Why it is still here.';
comment on column walhook.webhook_queue.is_dead is 'A dead letter: no attempt is left; it is kept until somebody replays or deletes it, and holds nothing up.';
comment on column walhook.webhook_queue.method is 'Frozen HTTP method.';
comment on column walhook.webhook_queue.url is 'Frozen URL of a dynamic URL; NULL: taken from the webhook at each attempt.';
comment on column walhook.webhook_queue.content_type is 'Frozen content type.';
comment on column walhook.webhook_queue.headers is 'Frozen values of templated headers.';
comment on column walhook.webhook_queue.body is 'Frozen body, the exact bytes.';
comment on column walhook.webhook_queue.change is 'The raw change of an undecided delivery.';
comment on column walhook.webhook_queue.queued_at is 'When it came into the queue.';

create table if not exists walhook.bridge (
  id boolean constraint bridge_pkey primary key default true constraint bridge_has_one_row check (id),
  slot_name text,
  slot_generation integer not null default 0,
  system_identifier text,
  database_oid oid,
  timeline_id integer,
  cursor_commit_lsn pg_lsn,
  cursor_change_lsn pg_lsn,
  cursor_index integer,
  flush_lsn pg_lsn,
  epoch bigint not null default 0,
  state text not null default 'new'
    constraint bridge_state_is_known check (state in ('new', 'running', 'stopped', 'waiting', 'failed')),
  last_error text,
  last_error_at timestamptz,
  version text,
  started_at timestamptz,
  updated_at timestamptz not null default now()
);
comment on table walhook.bridge is 'The bridge: its slot, how far it came, how it is. Exactly one row.';
comment on column walhook.bridge.id is 'Always true.';
comment on column walhook.bridge.slot_name is 'The replication slot: walhook_<database oid>_<generation>.';
comment on column walhook.bridge.slot_generation is 'Counts the slots made; a new slot is a new generation.';
comment on column walhook.bridge.system_identifier is 'The cluster that the positions belong to.';
comment on column walhook.bridge.database_oid is 'The database that the positions belong to.';
comment on column walhook.bridge.timeline_id is 'The timeline last seen.';
comment on column walhook.bridge.cursor_commit_lsn is 'Everything up to this position is in the log or in the queue: LSN of the commit.';
comment on column walhook.bridge.cursor_change_lsn is 'The position''s LSN of the change.';
comment on column walhook.bridge.cursor_index is 'The position''s index of the change at its LSN.';
comment on column walhook.bridge.flush_lsn is 'End of the last transaction that was passed whole.';
comment on column walhook.bridge.epoch is 'Raised at each start; a process with an older one stops.';
comment on column walhook.bridge.state is 'new, running, stopped, waiting (for the database or the slot), failed (see last_error).';
comment on column walhook.bridge.last_error is 'The last error, with its remedy.';
comment on column walhook.bridge.last_error_at is 'When it happened.';
comment on column walhook.bridge.version is 'Version of the bridge that runs or ran last.';
comment on column walhook.bridge.started_at is 'When it started.';
comment on column walhook.bridge.updated_at is 'When the row was last written.';

insert into walhook.bridge (id) values (true) on conflict do nothing;

-- Publications: pgoutput sends what is in either. Nothing that the bridge writes is ever published. -----------------

do $$
declare
  options text := 'publish_via_partition_root = true';
begin
  if current_setting('server_version_num')::integer >= 180000 then
    options := options || ', publish_generated_columns = stored';
  end if;
  if not exists (select from pg_catalog.pg_publication where pubname = 'walhook_insert') then
    execute format('create publication walhook_insert with (publish = %L, %s)', 'insert, truncate', options);
  end if;
  if not exists (select from pg_catalog.pg_publication where pubname = 'walhook_all') then
    execute format(
      'create publication walhook_all for table walhook.webhook, walhook.webhook_header, walhook.webhook_data, '
      || 'walhook.webhook_secret with (publish = %L, %s)', 'insert, update, delete, truncate', options);
  end if;
end $$;
comment on publication walhook_insert is 'Walhook: tables of which only INSERT and TRUNCATE are needed. Kept by triggers on walhook.webhook.';
comment on publication walhook_all is 'Walhook: its configuration, and tables of which every change is needed. Kept by triggers on walhook.webhook.';

insert into walhook.migration (version, name) values (20, 'tables') on conflict do nothing;

commit;
