import { installedServer, lacks } from "../debian-server.ts";
import type { Peer, Place, RunningPeer } from "../peer.ts";

const SETTINGS = ["shared_preload_libraries=pg_net", "pg_net.database_name=bench"];

/**
 * A trigger function with the arguments, body and log of Supabase's database webhooks: method and URL from the
 * trigger, `type`, `table`, `schema`, `record`, `old_record` in the body, a row for each request in a table of hooks.
 * https://supabase.com/docs/guides/database/webhooks
 */
const TRIGGER = `
  create schema supabase_functions;
  create table supabase_functions.hooks (
    id bigint generated always as identity primary key, hook_table_id integer not null, hook_name text not null,
    created_at timestamptz not null default now(), request_id bigint);
  create index on supabase_functions.hooks (request_id);
  create index on supabase_functions.hooks (hook_table_id, hook_name);
  create function supabase_functions.http_request() returns trigger
    language plpgsql security definer set search_path = '' as $$
  declare
    request bigint;
  begin
    select net.http_post(
      url := tg_argv[0], headers := tg_argv[2]::jsonb, params := tg_argv[3]::jsonb,
      timeout_milliseconds := tg_argv[4]::integer,
      body := jsonb_build_object('type', tg_op, 'table', tg_table_name, 'schema', tg_table_schema,
        'record', new, 'old_record', old)) into request;
    insert into supabase_functions.hooks (hook_table_id, hook_name, request_id) values (tg_relid, tg_name, request);
    return new;
  end $$`;

/** PostgreSQL's background worker that sends requests, with the trigger that Supabase puts before it. */
export const pgNet: Peer = {
  name: "pg_net",
  server: { nativeDir: installedServer },
  missing: () => lacks("sharedir", "extension/pg_net.control", "install pg_net as its README says"),
  variants: [
    { name: "default (batch 200)", settings: SETTINGS, start: (place) => start(place, 1000) },
    {
      name: "tuned (batch 2000, ttl 1 min, timeout 5 s)",
      settings: [...SETTINGS, "pg_net.batch_size=2000", "pg_net.ttl=1 minute"],
      start: (place) => start(place, 5000),
    },
  ],
};

async function start({ stage, sinkUrl }: Place, timeoutMs: number): Promise<RunningPeer> {
  await stage.look("create extension pg_net");
  await stage.look(TRIGGER);
  await stage.look(`create trigger hook after insert on event for each row execute function
    supabase_functions.http_request('${sinkUrl}', 'POST', '{"Content-Type":"application/json"}', '{}', '${timeoutMs}')`);
  return {
    cpuSeconds: () => null,
    ended: () => null,
    // It lives in the server, so it is the server that crashes.
    crash: async () => {
      await stage.server.stop("immediate");
      await stage.server.start();
    },
  };
}
