import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { notices, refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("validation");
  await watched.app.query(`
    create table orders (id int primary key, status text, total numeric);
    create table invoices (id int primary key, docstatus smallint);
    create table nothing_to_read (id int primary key);
    create table keyless (note text);
    create unlogged table unlogged_orders (id int primary key);
    create view order_view as select * from orders;
    create table events (id int, day date, primary key (id, day)) partition by range (day);
    create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
    create table "Sales Order" (id int primary key, "Grand Total" numeric);
    create table guarded (id int primary key);
    alter table guarded enable row level security;
    revoke select on nothing_to_read from "${watched.roles.admin}";
    grant select (id) on nothing_to_read to "${watched.roles.admin}";
    alter table nothing_to_read add column hidden text;
  `);
});
afterAll(() => watched.drop());

describe("a webhook", () => {
  it("takes four columns", async () => {
    await watched.admin.query(
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
       values ('new-order', 'orders', 'after_insert', 'https://example.com/hook')`,
    );
    const [row] = await watched.rows("select *, author::text from walhook.webhook where name = 'new-order'");
    expect(row).toMatchObject({
      doctype: "orders",
      author: watched.roles.admin,
      timeout_ms: 5000,
      enabled: true,
      request_method: "POST",
      webhook_secret: null,
    });
  });

  it("has its events in one spelling", async () => {
    await watched.webhook("several", "orders", " After_Insert,on_update ,after_insert");
    expect(await watched.rows("select webhook_docevent from walhook.webhook where name = 'several'")).toEqual([
      { webhook_docevent: "after_insert, on_update" },
    ]);
  });

  it("takes a quoted name of mixed case", async () => {
    await watched.webhook("quoted", '"Sales Order"', "after_insert");
    expect(await watched.rows("select doctype from walhook.webhook where name = 'quoted'")).toEqual([
      { doctype: "Sales Order" },
    ]);
  });

  it("says that a table without a primary key has no docname", async () => {
    const heard = notices(watched.admin);
    await watched.webhook("keyless", "keyless", "after_insert");
    expect(heard.join("\n")).toContain("has no primary key");
  });

  const refused: readonly (readonly [string, string, string, Readonly<Record<string, unknown>>, RegExp, RegExp?])[] = [
    ["an unknown table", "no_such_table", "after_insert", {}, /no_such_table/],
    ["a view", "order_view", "after_insert", {}, /is no table/],
    ["an unlogged table", "unlogged_orders", "after_insert", {}, /unlogged/],
    ["a system table", "pg_class", "after_insert", {}, /system table/],
    ["Walhook's own table", "walhook.webhook_request_log", "after_insert", {}, /own tables/],
    ["a partition", "events_2026", "after_insert", {}, /is a partition/, /'(public\.)?events'/],
    ["an unknown event", "orders", "on_save", {}, /no doc event "on_save"/, /after_insert, on_update/],
    ["an empty event", "orders", "", {}, /webhook_docevent/],
    ["an event the table cannot have", "orders", "on_submit", {}, /on_submit cannot happen/, /on_update/],
    ["a relative URL", "orders", "after_insert", { request_url: "/hook" }, /absolute/],
    ["another scheme", "orders", "after_insert", { request_url: "ftp://example.com" }, /absolute/],
    [
      "a dynamic URL that is not closed",
      "orders",
      "after_insert",
      { request_url: "https://example.com/{{doc.id", is_dynamic_url: true },
      /not closed/,
    ],
    ["an unknown method", "orders", "after_insert", { request_method: "GET" }, /request_method "GET"/, /PATCH/],
    ["an unknown structure", "orders", "after_insert", { request_structure: "XML" }, /request_structure "XML"/],
    ["a timeout beyond a minute", "orders", "after_insert", { timeout: "100 days" }, /timeout/],
    ["an unbalanced template", "orders", "after_insert", { webhook_json: "{{#doc.id}}x" }, /not closed/],
    ["a template closed twice", "orders", "after_insert", { webhook_json: "{{/doc}}" }, /never opened/],
    ["security without a secret", "orders", "after_insert", { enable_security: true }, /needs webhook_secret/],
    ["*** as a secret", "orders", "after_insert", { webhook_secret: "***" }, /there is none/],
    ["whsec_ without base64", "orders", "after_insert", { webhook_secret: "whsec_!!" }, /base64/],
    ["a condition that does not compile", "orders", "after_insert", { condition: "doc.nope = 1" }, /nope/],
    ["a column the author may not read", "nothing_to_read", "after_insert", {}, /may not read/, /grant select on/],
    ["row-level security", "guarded", "after_insert", {}, /row-level security/],
  ];
  for (const [what, doctype, events, more, message, hint] of refused) {
    it(`is refused for ${what}`, async () => {
      const { message: said, hint: hinted } = await refusal(watched.webhook("refused", doctype, events, more));
      expect(said).toMatch(message);
      if (hint !== undefined) expect(hinted).toMatch(hint);
    });
  }

  it("is refused a name that another one has, and a name that cannot be read", async () => {
    await watched.webhook("taken", "orders", "after_insert");
    expect((await refusal(watched.webhook("taken", "orders", "after_insert"))).message).toContain("webhook_name_key");
    expect((await refusal(watched.webhook("a\nb", "orders", "after_insert"))).message).toContain("control characters");
  });

  it("keeps its number", async () => {
    const { message } = await refusal(
      watched.admin.query("update walhook.webhook set id = default where name = 'taken'"),
    );
    expect(message).toContain("never changes");
  });

  it("can be disabled when its table is gone, and is told where the table is again", async () => {
    await watched.app.query("create table short_lived (id int primary key)");
    await watched.webhook("short-lived", "short_lived", "after_insert");
    await watched.app.query("drop table short_lived; create table short_lived (id int primary key)");
    await watched.admin.query("update walhook.webhook set enabled = false where name = 'short-lived'");
    const { hint } = await refusal(
      watched.admin.query("update walhook.webhook set request_url = 'https://example.org' where name = 'short-lived'"),
    );
    expect(hint).toContain("update walhook.webhook set webhook_doctype = ");
    await watched.admin.query("update walhook.webhook set webhook_doctype = 'short_lived' where name = 'short-lived'");
    await watched.admin.query("delete from walhook.webhook where name = 'short-lived'");
  });
});

describe("a row of data or header", () => {
  it("names a column of the table, which is its key where none is given", async () => {
    await watched.admin.query(`insert into walhook.webhook_data (webhook, fieldname) values ('new-order', 'status')`);
    expect(await watched.rows("select key from walhook.webhook_data where webhook = 'new-order'")).toEqual([
      { key: "status" },
    ]);
    const { message, hint } = await refusal(
      watched.admin.query(`insert into walhook.webhook_data (webhook, fieldname) values ('new-order', 'nope')`),
    );
    expect(message).toContain('no column "nope"');
    expect(hint).toContain("id, status, total");
  });

  it("needs its webhook", async () => {
    const { message } = await refusal(
      watched.admin.query(`insert into walhook.webhook_data (webhook, fieldname) values ('nobody', 'status')`),
    );
    expect(message).toContain('there is no webhook "nobody"');
  });

  it("refuses a header that is Walhook's own", async () => {
    const insert =
      "insert into walhook.webhook_header (webhook, key, value) values ('new-order', 'Webhook-Signature', 'v1,x')";
    expect((await refusal(watched.admin.query(insert))).message).toContain("cannot be set");
  });

  it("refuses a header that would be two", async () => {
    const insert = "insert into walhook.webhook_header (webhook, key, value) values ('new-order', $1, $2)";
    expect((await refusal(watched.admin.query(insert, ["X-A", "a\r\nX-B: b"]))).message).toContain("line break");
    expect((await refusal(watched.admin.query(insert, ["X A", "a"]))).message).toContain("is no name of a header");
    expect((await refusal(watched.admin.query(insert, ["X-A", "{{doc.id"]))).message).toContain("not closed");
  });
});
