import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;
const suffix = randomBytes(4).toString("hex");
const analyst = `analyst_${suffix}`;
const monitor = `monitor_${suffix}`;
const stranger = `stranger_${suffix}`;

beforeAll(async () => {
  watched = await watchedDatabase("rights");
  await watched.app.query("create table orders (id int primary key)");
  await watched.webhook("w", "orders", "after_insert", { webhook_secret: "secret" });
  await watched.db.query(`
    create role ${analyst} login in role walhook_analyst;
    create role ${monitor} login in role walhook_monitor;
    create role ${stranger} login`);
});
afterAll(async () => {
  await watched.drop();
});

const refused = async (role: string, sql: string): Promise<string | undefined> =>
  (await refusal(watched.db.queryAs(role, sql))).code;

describe("rights", () => {
  it("of the bridge: it reads everything, writes its own tables, and changes no configuration", async () => {
    const { bridge } = watched.roles;
    await watched.db.queryAs(bridge, "select secret from walhook.webhook_secret");
    await watched.db.queryAs(bridge, "update walhook.bridge set state = 'running'");
    await watched.db.queryAs(
      bridge,
      "select 1 from walhook.webhook_in_force, walhook.webhook_queue, walhook.replica_identity",
    );
    for (const sql of [
      "update walhook.webhook set enabled = false",
      "delete from walhook.webhook_secret",
      "update walhook.webhook_request_log set error = 'x'",
      "delete from walhook.bridge",
      "select from orders",
      "create table walhook.mine ()",
      "select walhook.restore_replica_identities()",
      "select walhook.publish_doctype('orders'::regclass, true)",
    ]) {
      expect([sql, await refused(bridge, sql)]).toEqual([sql, "42501"]);
    }
  });

  it("of the admin: it configures, and neither reads secrets nor calls what works as the owner", async () => {
    for (const sql of [
      "select from walhook.webhook_secret",
      "select from walhook.webhook_in_force",
      "select from walhook.webhook_request_log",
      "update walhook.bridge set state = 'failed'",
      "select walhook.set_full_identity('orders'::regclass)",
      "select walhook.restore_replica_identity('orders'::regclass)",
      "select from walhook.author_rights()",
    ]) {
      expect([sql, await refused(watched.roles.admin, sql)]).toEqual([sql, "42501"]);
    }
  });

  it("of the analyst: the whole log; of the monitor: the log without documents", async () => {
    await watched.db.queryAs(analyst, "select request_body, response_body, url from walhook.webhook_request_log");
    expect(await refused(analyst, "select from walhook.webhook_secret")).toBe("42501");
    expect(await refused(analyst, "select webhook_secret from walhook.webhook")).toBe("42501");
    await watched.db.queryAs(
      monitor,
      "select webhook, outcome, duration_ms, status_code from walhook.webhook_request_log",
    );
    await watched.db.queryAs(monitor, "select state, last_error from walhook.bridge");
    for (const column of ["request_body", "response_body", "request_headers", "url"]) {
      expect(await refused(monitor, `select ${column} from walhook.webhook_request_log`)).toBe("42501");
    }
    expect(await refused(monitor, "select from walhook.webhook_queue")).toBe("42501");
  });

  it("of a stranger: none", async () => {
    expect(await refused(stranger, "select from walhook.webhook")).toBe("42501");
    expect(await refused(stranger, "select walhook.template_problem('')")).toBe("42501");
    expect(
      await refused(stranger, "create function walhook_condition.f() returns int language sql as 'select 1'"),
    ).toBe("42501");
  });

  it("of walhook_owner: it owns everything but the conditions' interpreter and the guard, and publishes nothing the bridge writes but watermarks", async () => {
    const others = await watched.rows(`
      select relname::text as name, relowner::regrole::text as owner from pg_class
        where relnamespace = 'walhook'::regnamespace and relowner <> 'walhook_owner'::regrole
      union all select proname::text, proowner::regrole::text from pg_proc
        where pronamespace = 'walhook'::regnamespace and proowner <> 'walhook_owner'::regrole
      union all select pubname::text, pubowner::regrole::text from pg_publication where pubowner <> 'walhook_owner'::regrole order by 1`);
    expect(others).toEqual([
      { name: "ask", owner: "walhook_sandbox" },
      { name: "ask_rows", owner: "walhook_sandbox" },
      { name: "guard", owner: "postgres" },
      { name: "read_backfill", owner: "walhook_sandbox" },
    ]);
    const published = await watched.rows(
      "select tablename::text as name from pg_publication_tables where schemaname = 'walhook' order by 1",
    );
    expect(published.map(({ name }) => name)).toEqual([
      "backfill_request",
      "backfill_watermark",
      "paused",
      "repair",
      "webhook",
      "webhook_data",
      "webhook_header",
      "webhook_secret",
    ]);
  });

  it("are safe: every function that works as its owner fixes its search_path, and everything has a comment", async () => {
    expect(
      await watched.rows(`select proname::text from pg_proc where pronamespace = 'walhook'::regnamespace and prosecdef
        and not coalesce(array_to_string(proconfig, ' ') like '%search_path=pg_catalog, pg_temp%', false)`),
    ).toEqual([]);
    expect(
      await watched.rows(`
        select c.relname::text as name from pg_class c where relnamespace = 'walhook'::regnamespace and relkind in ('r', 'p')
          and obj_description(c.oid, 'pg_class') is null
        union all select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
          where relnamespace = 'walhook'::regnamespace and relkind in ('r', 'p') and not relispartition
            and attnum > 0 and not attisdropped and col_description(c.oid, attnum) is null
        union all select proname::text from pg_proc where pronamespace = 'walhook'::regnamespace and obj_description(oid, 'pg_proc') is null`),
    ).toEqual([]);
  });
});
