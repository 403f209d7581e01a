import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { said } from "./said.ts";
import { watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("add_webhook");
  await watched.app.query(`
    create table orders (id int primary key, status text, total numeric);
    create table "Sales Order" (id int primary key)`);
  await watched.webhook("taken", "orders", "after_insert");
});
afterAll(() => watched.drop());

describe("walhook.add_webhook", () => {
  it("takes table, events and URL, and finds a name that nobody has", async () => {
    const add = "select * from walhook.add_webhook('orders', 'after_insert, on_trash', 'https://example.com/')";
    const first = (await watched.admin.query(add)).rows[0] as { webhook_id: number; webhook: string };
    expect(first.webhook).toBe("orders-after-insert");
    expect((await watched.admin.query(add)).rows[0]).toMatchObject({ webhook: "orders-after-insert-2" });
    expect(
      await watched.rows("select name, author::text from walhook.webhook where id = $1", [first.webhook_id]),
    ).toEqual([{ name: "orders-after-insert", author: watched.roles.admin }]);
    await watched.admin.query("delete from walhook.webhook where name ~ '^orders-'");
  });

  it("takes everything else by name, with header and data rows in their order", async () => {
    await watched.admin.query(`
      select * from walhook.add_webhook('orders', 'on_update', 'https://example.com/{{doc.id}}', name => 'full', secret => 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
        condition => $$doc.status = 'Paid'$$, data => '{"z": "id", "a": "status"}', headers => '{"X-Z": "1", "X-A": "{{doc.id}}"}', method => 'PUT',
        enabled => false, options => '{"rate_limit": 5, "retry_schedule": ["5 s", "1 min"], "timeout": "10 s"}')`);
    const [row] = await watched.rows(`
      select request_method, enable_security, webhook_secret, is_dynamic_url, enabled, condition, rate_limit::float8, retry_schedule_ms::int[], timeout_ms, batch_size,
             (select string_agg(key || '=' || fieldname, ',' order by id) from walhook.webhook_data where webhook = 'full') as data,
             (select string_agg(key || '=' || value, ',' order by id) from walhook.webhook_header where webhook = 'full') as headers
      from walhook.webhook where name = 'full'`);
    expect(row).toEqual({
      request_method: "PUT",
      enable_security: true,
      webhook_secret: "***",
      is_dynamic_url: true,
      enabled: false,
      condition: "doc.status = 'Paid'",
      rate_limit: 5,
      retry_schedule_ms: [5000, 60_000],
      timeout_ms: 10_000,
      batch_size: 1,
      data: "z=id,a=status",
      headers: "X-Z=1,X-A={{doc.id}}",
    });
    await watched.admin.query("delete from walhook.webhook where name = 'full'");
  });

  it("finds a table as a query does, and by the name that is shown of it", async () => {
    await watched.db.query(
      `create schema other authorization "${watched.roles.app}"; grant usage on schema other to "${watched.roles.admin}"`,
    );
    await watched.app.query("create table other.orders (id int primary key, place text)");
    await watched.admin.query("begin; set local search_path = other, public");
    await watched.admin.query(
      "select walhook.add_webhook('orders', 'after_insert', 'https://example.com/', condition => 'doc.place is null')",
    );
    const { rows } = await watched.admin.query("select doctype, name from walhook.webhook where name <> 'taken'");
    expect(rows).toEqual([{ doctype: "other.orders", name: "other.orders-after-insert" }]);
    await watched.admin.query("rollback");
    await watched.admin.query("select walhook.add_webhook('Sales Order', 'after_insert', 'https://example.com/')");
    const shown = await watched.admin.query("select doctype from walhook.webhook where name <> 'taken'");
    expect(shown.rows).toEqual([{ doctype: "Sales Order" }]);
    await watched.admin.query("delete from walhook.webhook where doctype = 'Sales Order'");
  });

  it("is refused as the INSERT is, and says what it does not know", async () => {
    expect(
      await said(watched.admin, "select walhook.add_webhook('orders', 'insert', 'https://example.com/', 'w')"),
    ).toEqual([
      'webhook "w": there is no doc event "insert"',
      expect.stringContaining("HINT: Did you mean after_insert?"),
    ]);
    expect(
      await said(watched.admin, "select walhook.add_webhook('order', 'after_insert', 'https://example.com/')"),
    ).toEqual(['there is no table "order"', `HINT: Did you mean 'orders', '"Sales Order"', 'other.orders'?`]);
    expect(
      await said(
        watched.admin,
        `select walhook.add_webhook('orders', 'after_insert', 'https://example.com/', options => '{"timeot": 1}')`,
      ),
    ).toEqual([
      'options: a webhook has no column "timeot"',
      String.raw`HINT: Those of walhook.webhook may stand there, for example {"rate_limit": 20, "batch_size": 100}; \d+ walhook.webhook describes them.`,
    ]);
  });

  it.each([
    ["'', 'after_insert', 'https://example.com/'", "no table is named", /^HINT: Name it as in a query/],
    ["'orders', null, 'https://example.com/'", "no events are given", /^HINT: There are after_insert, /],
    ["'orders', 'after_insert', null", 'webhook "orders-after-insert": request_url is missing', /needs name/],
    ["'orders', 'after_insert', 'https://a/', options => '[]'", "options is no object", /"rate_limit": 20/],
    [
      `'orders', 'after_insert', 'https://a/', options => '{"author": "x"}'`,
      "options: author is filled by Walhook",
      /Leave it out/,
    ],
    [
      `'orders', 'after_insert', 'https://a/', options => '{"webhook_secret": "x"}'`,
      "options: webhook_secret has an argument of its own",
      /secret => /,
    ],
    [
      `'orders', 'after_insert', 'https://a/', template => '{}', data => '["id"]'`,
      "give data or a template, not both",
      /^HINT: data: columns/,
    ],
    ["'orders', 'after_insert', 'https://a/', template => ' '", "the template is empty", /^HINT: Leave it out/],
    ["'orders', 'after_insert', 'https://a/', 'taken'", 'there is a webhook "taken" already', /where name = 'taken';$/],
  ])("passes no mistake by: %s", async (call, message, hint) => {
    expect(await said(watched.admin, `select walhook.add_webhook(${call})`)).toEqual([
      message,
      expect.stringMatching(hint),
    ]);
  });

  it("warns of a password in the URL, as an INSERT and an UPDATE do, but not of a template in its place", async () => {
    const add = (url: string): Promise<readonly string[]> =>
      said(watched.admin, `select walhook.add_webhook('orders', 'after_insert', '${url}', 'w')`);
    const warning = [
      'webhook "w": request_url holds a password',
      expect.stringMatching(/^HINT: Whoever may read walhook.webhook reads it/),
    ];
    expect(await add("https://user:password@example.com/")).toEqual(warning);
    expect(await add("https://example.com/a:b@c")).toEqual([]);
    expect(await add("https://{{doc.status}}:{{doc.id}}@example.com/")).toEqual([]);
    expect(
      await said(watched.admin, "update walhook.webhook set request_url = 'https://u:p@example.com/'"),
    ).toHaveLength(2);
  });
});

describe("walhook.add_alert_webhook", () => {
  it("says that its name is taken, and how to choose another one", async () => {
    await watched.admin.query("select walhook.add_alert_webhook('https://example.com/')");
    expect(await said(watched.admin, "select walhook.add_alert_webhook('https://example.com/')")).toEqual([
      'there is a webhook "walhook-alerts" already',
      expect.stringContaining("walhook.add_alert_webhook(…, name => …)"),
    ]);
    await watched.admin.query("delete from walhook.webhook where name = 'walhook-alerts'");
  });
});

describe("a new secret of a webhook", () => {
  it("signs nothing where it has no security, and that is said", async () => {
    for (const statement of [
      "select walhook.rotate_secret('taken')",
      "select walhook.add_secret('taken')",
      "update walhook.webhook set webhook_secret = walhook.generate_secret() where name = 'taken'",
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, webhook_secret)
       values ('taken', 'orders', 'after_insert', 'https://example.com/', walhook.generate_secret())
       on conflict (name) do update set webhook_secret = excluded.webhook_secret`,
    ]) {
      expect(await said(watched.admin, statement)).toEqual([
        'webhook "taken" signs nothing until enable_security is true',
        "HINT: update walhook.webhook set enable_security = true where name = 'taken';",
      ]);
    }
  });

  it("is said of a new webhook too, and not where it signs or no secret is written", async () => {
    const insert = (columns: string, values: string): Promise<readonly string[]> =>
      said(
        watched.admin,
        `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url${columns})
         values ('w', 'orders', 'after_insert', 'https://example.com/'${values})`,
      );
    expect(await insert(", webhook_secret", ", walhook.generate_secret()")).toEqual([
      'webhook "w" signs nothing until enable_security is true',
      "HINT: update walhook.webhook set enable_security = true where name = 'w';",
    ]);
    expect(await insert(", webhook_secret, enable_security", ", walhook.generate_secret(), true")).toEqual([]);
    expect(await said(watched.admin, "update walhook.webhook set timeout = '2 s' where name = 'taken'")).toEqual([]);
  });
});
