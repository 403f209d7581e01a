import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { refusal } from "./watched-database.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("injection_conditions");
  await system.look(`create sequence public.numbers; grant all on sequence public.numbers to "${system.roles.admin}";
    grant create on schema public to "${system.roles.admin}"`);
  await system.app(`create table orders (id int primary key, status text); create table loot (what text);
    insert into loot values ('gold'); revoke all on loot from "${system.roles.admin}"`);
  await system.admin(
    `create function public.deep(n int) returns boolean language plpgsql as $$ begin return public.deep(n + 1); end $$`,
  );
});
afterAll(() => system.drop());

/** What a condition says, and what must become of it: words of the refusal, or of the log, or of the webhook's state. */
const CONDITIONS: readonly (readonly [string, RegExp])[] = [
  ["pg_read_file('/etc/passwd') is not null", /permission denied for function pg_read_file/],
  ["pg_read_binary_file('/etc/passwd') is not null", /permission denied/],
  ["(select count(*) from pg_ls_dir('/')) > 0", /permission denied/],
  ["lo_import('/etc/passwd') > 0", /permission denied|read-only/],
  ["lo_export(1, '/tmp/walhook-planted') > 0", /permission denied|read-only/],
  ["lo_create(4712) > 0", /read-only|^fires$/],
  ["dblink('host=localhost', 'select 1') is not null", /function dblink\(.*\) does not exist/],
  ["set_config('role', 'postgres', false) is not null", /cannot set parameter "role"|permission denied/],
  ["set_config('session_authorization', 'postgres', false) is not null", /cannot set parameter|permission denied/],
  ["set_config('transaction_read_only', 'off', false) is not null", /read-write mode|cannot set|^fires$/],
  ["pg_terminate_backend(pg_backend_pid())", /permission denied|must be a member of the role|must be a superuser/],
  [
    "(select bool_or(pg_terminate_backend(pid)) from pg_stat_activity)",
    /permission denied|must be a member of the role|must be a superuser/,
  ],
  [
    "(select bool_or(pg_cancel_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid())",
    /permission denied|must be a member of the role|must be a superuser/,
  ],
  ["nextval('public.numbers') > 0", /read-only/],
  ["setval('public.numbers', 100) > 0", /read-only/],
  ["pg_reload_conf()", /permission denied/],
  ["pg_rotate_logfile()", /permission denied/],
  ["pg_switch_wal() is not null", /permission denied/],
  ["pg_stat_reset() is null", /permission denied/],
  [
    "pg_drop_replication_slot((select slot_name from pg_replication_slots limit 1)) is null",
    /permission denied|must be superuser|replication/,
  ],
  [
    "(select count(*) from pg_create_logical_replication_slot('planted', 'pgoutput')) > 0",
    /permission denied|must be superuser|replication|read-only|cannot create/,
  ],
  [
    "(select count(*) from pg_logical_slot_peek_changes((select slot_name from pg_replication_slots limit 1), null, null)) > 0",
    /permission denied|must be superuser|replication|read-only/,
  ],
  [
    "query_to_xml('drop table loot', true, false, '') is not null",
    /read-only|must be owner|permission denied|not allowed in a non-volatile/,
  ],
  ["query_to_xml('select * from loot', true, false, '') is not null", /permission denied for table loot/],
  ["exists (select from loot)", /permission denied for table loot/],
  ["exists (select from walhook.webhook_secret)", /permission denied/],
  ["exists (select from walhook.webhook_request_log)", /permission denied/],
  ["exists (select from pg_authid)", /permission denied/],
  ["walhook.disable_webhook(1, 'x') is null", /permission denied/],
  ["walhook.expunge('msg_x') > 0", /read-only|no delivery/],
  ["length(repeat(doc.status, 1073741823)) > 0", /requested length too large|timeout|in time|not answer/],
  ["(select count(*) from generate_series(1, 1000000000)) > 0", /time/],
  ["(select length(string_agg(repeat('x', 1000), '')) from generate_series(1, 100000000)) > 0", /time|memory/],
  ["(select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b) > 0", /time/],
  ["(with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r) > 0", /time/],
  ["public.deep(1)", /stack depth|time/],
  ["pg_sleep(60) is null", /time/],
  ["doc.status ~ '(a+)+$' and repeat('a', 5000) || 'b' ~ '((a|aa|aaa)+)+$'", /time|^does not fire$|regular expression/],
  [
    '(select pg_logical_emit_message(false, \'walhook\', \'{"kind":"test","token":"x"}\')) is not null',
    /^fires$|permission denied|read-only/,
  ],
];

describe("a condition that calls what is dangerous is refused, or fails by itself, and does no harm", () => {
  const became = new Map<string, string>();

  beforeAll(async () => {
    await system.webhook("control", "orders", "after_insert");
    for (const [number, [condition]] of CONDITIONS.entries()) {
      const added = system.webhook(`c${number}`, "orders", "after_insert", { condition });
      await added.catch((error: Error) => became.set(condition, error.message));
    }
    await system.startBridge();
    await system.app("insert into orders values (1, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!')");
    for (const [number, [condition, expected]] of CONDITIONS.entries()) {
      if (became.has(condition)) continue;
      const name = `c${number}`;
      const words = await eventually(
        async () => {
          if (system.received(name).length > 0) return "fires";
          const [logged] = await system.look(
            "select outcome || ': ' || error as words from walhook.webhook_request_log where webhook = $1",
            [name],
          );
          const [waiting] = await system.look(
            "select last_error as words from walhook.webhook_queue where webhook = $1 and last_error is not null",
            [name],
          );
          const found = (logged ?? waiting)?.["words"];
          // On a busy machine any of them may be late at first, which is no harm either: it is asked again.
          if (typeof found === "string") {
            return found.includes("did not answer in time") && !expected.test(found) ? null : found;
          }
          const [row] = await system.look(
            "select confirmed_flush_lsn > pg_current_wal_lsn() - 1000::numeric as done from pg_replication_slots where database = $1",
            [system.db.name],
          );
          return row?.["done"] === true && system.received("control").length > 0 ? "does not fire" : null;
        },
        { withinMs: 20_000 },
      );
      became.set(condition, words);
    }
  }, 90_000);

  it.each(CONDITIONS)("%s", (condition, words) => {
    expect(became.get(condition)).toMatch(words);
  });

  it("nothing is gone, planted or counted, nobody was stopped, and the others are served", async () => {
    await system.app("insert into orders values (2, 'b')");
    await eventually(() => system.received("control").length === 2);
    expect(await system.app("select what from loot")).toEqual([{ what: "gold" }]);
    expect(await system.look("select last_value::int as n, is_called from public.numbers")).toEqual([
      { n: 1, is_called: false },
    ]);
    expect(await system.look("select from pg_largeobject_metadata where oid = 4712")).toEqual([]);
    expect(await system.look("select from pg_replication_slots where slot_name = 'planted'")).toEqual([]);
    expect(await system.look("select state from walhook.bridge")).toEqual([{ state: "running" }]);
  });
});

describe("what is no value of its column is refused in words", () => {
  it.each([
    ["request_url", "javascript:alert(1)", /not an absolute http or https URL/],
    ["request_url", "file:///etc/passwd", /not an absolute http or https URL/],
    ["request_url", "http://a b/", /not an absolute http or https URL/],
    ["request_url", "http://x/\r\nHost: evil", /not an absolute http or https URL/],
    ["request_url", "gopher://127.0.0.1:6379/_FLUSHALL", /not an absolute http or https URL/],
    ["request_method", "GET\r\nX: 1", /request_method/],
    ["webhook_secret", "file:/etc/\nshadow", /file: must be followed by a path/],
    ["webhook_secret", "env:PGPASSWORD", /must name a variable that begins with WALHOOK_SECRET_/],
    ["tls_profile", "../../etc/ssl", /is no name/],
    ["proxy", "http://user:password@proxy:1", /with credentials/],
    ["name", "a\nb", /control characters/],
    ["webhook_json", "{{> /etc/passwd}}", /webhook_json/],
    ["webhook_json", "{{=<% %>=}}", /webhook_json/],
  ])("%s = %j", async (column, value, words) => {
    const row = {
      name: "bad",
      webhook_doctype: "orders",
      webhook_docevent: "after_insert",
      request_url: "https://example.com",
      [column]: value,
    };
    const names = Object.keys(row);
    const { message } = await refusal(
      system.admin(
        `insert into walhook.webhook (${names.join(", ")}) values (${names.map((_, n) => `$${n + 1}`).join(", ")})`,
        Object.values(row),
      ),
    );
    expect(message).toMatch(words);
  });

  it.each(["a\r\nX-Evil: 1", "a\nb", "a\u0000b".replace("\u0000", "\u0001"), "a\u007f"])(
    "a header %j",
    async (value) => {
      await system.webhook("headers", "orders", "on_trash").catch(() => {});
      const added = system.admin(
        "insert into walhook.webhook_header (webhook, key, value) values ('headers', 'X-A', $1)",
        [value],
      );
      expect((await refusal(added)).message).toMatch(/line break or another control character/);
      const named = system.admin(
        "insert into walhook.webhook_header (webhook, key, value) values ('headers', $1, 'x')",
        [value],
      );
      expect((await refusal(named)).message).toMatch(/is no name of a header/);
    },
  );
});
