-- Walhook 193: the bridge reads no message but Walhook's own. Anybody may write messages into the WAL, as many and as long as he likes,
-- and whoever asks would wait behind them. A row cannot tell whose a message is: that of a preview is not committed while it is asked.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create table if not exists walhook.message_key (
  is_only boolean default true constraint message_key_pkey primary key constraint message_key_is_one check (is_only),
  key bytea not null
);
comment on table walhook.message_key is 'By what the bridge knows messages that Walhook''s functions have written into the WAL.';
comment on column walhook.message_key.is_only is 'There is one row.';
comment on column walhook.message_key.key is 'Random; known to Walhook''s functions and the bridge.';
insert into walhook.message_key (key) values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) on conflict do nothing;

create or replace function walhook.emit(message jsonb, is_transactional boolean) returns void
  language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
as $$
declare
  token constant text := (message ->> 'token')::uuid;
  key constant bytea := (select k.key from walhook.message_key k);
  -- Over the token alone, so that what is not ours is known by its first letters, however long it is.
  signature constant text := encode(sha256(key || sha256(key || convert_to(token, 'UTF8'))), 'hex');
  content constant bytea := convert_to(concat_ws(' ', token, signature, message), 'UTF8');
begin
  if is_transactional or current_setting('server_version_num')::integer < 170000 then
    perform pg_logical_emit_message(is_transactional, 'walhook', content);
    -- The bridge flushes what is not bound to a commit.
    if not is_transactional then perform nextval('walhook.doorbell'); end if;
  else
    execute 'select pg_logical_emit_message(false, ''walhook'', $1, true)' using content;
  end if;
end $$;
comment on function walhook.emit(jsonb, boolean) is
  'Writes a logical message for the bridge into the WAL: at once, or as a part of the transaction. Before it stand its token and a signature over that.';

revoke all on walhook.message_key from public;
do $$
begin
  perform walhook.grant_to_roles(array['grant select on walhook.message_key to walhook_bridge']);
end $$;

insert into walhook.migration (version, name) values (193, 'signed_messages') on conflict do nothing;

commit;
