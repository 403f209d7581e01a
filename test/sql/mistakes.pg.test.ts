import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { said } from "./said.ts";
import { watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("mistakes");
  await watched.app.query(`
    create table orders (id int primary key, status text, total numeric);
    create table lines (order_id int, no int);
    create table "Sales Order" (id int primary key)`);
  await watched.webhook("taken", "orders", "after_insert");
});
afterAll(() => watched.drop());

/** An INSERT of a webhook on orders, with further columns. */
function insert(columns: string, values: string, doctype = "orders", event = "after_insert"): string {
  return `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url${columns})
          values ('w', '${doctype}', '${event}', 'https://example.com/'${values})`;
}

const EVENTS =
  "There are after_insert, on_update, on_change, on_trash, on_submit, on_cancel, on_update_after_submit, on_truncate; several are separated by commas.";

const MISTAKES: readonly (readonly [what: string, sql: string, ...words: string[]])[] = [
  [
    "an event by the name of the statement",
    insert("", "", "orders", "insert"),
    'webhook "w": there is no doc event "insert"',
    `HINT: Did you mean after_insert? ${EVENTS}`,
  ],
  [
    "events without commas",
    insert("", "", "orders", "after_insert on_update"),
    'webhook "w": there is no doc event "after_insert on_update"',
    `HINT: Did you mean after_insert, on_update? ${EVENTS}`,
  ],
  [
    "an event that the table cannot have",
    insert("", "", "orders", "on_submit"),
    'webhook "w": on_submit cannot happen to public.orders',
    "DETAIL: It needs a column docstatus of an integer type (0 draft, 1 submitted, 2 cancelled).",
    "HINT: Use on_update or on_change, with a condition on the column that tells it.",
  ],
  [
    "a URL without a scheme",
    "update walhook.webhook set request_url = 'example.com/hook'",
    'webhook "taken": request_url "example.com/hook" is not an absolute http or https URL',
    "HINT: For example https://example.com/hooks/orders. With is_dynamic_url it may be a template.",
  ],
  [
    "a template in a static URL",
    "update walhook.webhook set request_url = 'https://example.com/{{doc.id}}'",
    'webhook "taken": request_url has {{…}}, which is only rendered with is_dynamic_url',
    "HINT: Set is_dynamic_url = true.",
  ],
  [
    "a missing URL",
    "insert into walhook.webhook (name, webhook_doctype, webhook_docevent) values ('w', 'orders', 'after_insert')",
    'webhook "w": request_url is missing',
    "HINT: A webhook needs name, webhook_doctype, webhook_docevent and request_url.",
  ],
  [
    "a column without doc",
    insert(", condition", ", $$status = 'Paid'$$"),
    'webhook "w": condition: column reference "status" is ambiguous',
    "DETAIL: The condition is: status = 'Paid'",
    "HINT: Write doc.status (the row after the change) or old.status (the row before).",
  ],
  [
    "a text without quotes",
    insert(", condition", ", 'doc.status = Paid'"),
    'webhook "w": condition: column "paid" does not exist',
    "DETAIL: The condition is: doc.status = Paid",
    "HINT: A text stands in single quotes: 'Paid'. Double quotes, or none, make it a column.",
  ],
  [
    "a text in double quotes",
    insert(", condition", `, 'doc.status = "Paid"'`),
    'webhook "w": condition: column "Paid" does not exist',
    'DETAIL: The condition is: doc.status = "Paid"',
    "HINT: A text stands in single quotes: 'Paid'. Double quotes, or none, make it a column.",
  ],
  [
    "a misspelled column",
    insert(", condition", ", $$doc.staus = 'Paid'$$"),
    'webhook "w": condition: column doc.staus does not exist',
    "DETAIL: The condition is: doc.staus = 'Paid'",
    'HINT: Perhaps you meant to reference the column "doc.status".',
  ],
  [
    "a condition that begins with WHERE",
    insert(", condition", ", 'where doc.total > 1'"),
    'webhook "w": condition: syntax error at or near "where"',
    "DETAIL: The condition is: where doc.total > 1",
    'HINT: Leave out "where": the condition is what would stand behind it.',
  ],
  [
    "a condition that ends with a semicolon",
    insert(", condition", ", 'doc.total > 1;'"),
    'webhook "w": condition: syntax error at or near ";"',
    "DETAIL: The condition is: doc.total > 1;",
    "HINT: Leave out the semicolon.",
  ],
  [
    "NEW as in a trigger",
    insert(", condition", ", 'new.total > 1'"),
    'webhook "w": condition: missing FROM-clause entry for table "new"',
    "DETAIL: The condition is: new.total > 1",
    "HINT: The row after the change is doc: write doc.… instead of new.…",
  ],
  [
    "an operator of another language",
    insert(", condition", ", $$doc.status == 'Paid'$$"),
    'webhook "w": condition: operator does not exist: text == unknown',
    "DETAIL: The condition is: doc.status == 'Paid'",
    "HINT: In SQL, = compares, <> is its opposite, and the words are and, or, not.",
  ],
  [
    "a condition that is no truth",
    insert(", condition", ", 'doc.total'"),
    'webhook "w": condition: it must be type boolean, not type numeric',
    "DETAIL: The condition is: doc.total",
    "HINT: It is a boolean SQL expression over doc, old and event, for example: doc.status = 'Paid' and old.status is distinct from doc.status. Columns: id, status, total.",
  ],
  [
    "a template that is not closed",
    insert(", webhook_json", `, '{"id": {{doc.id}'`),
    'webhook "w": webhook_json: {{doc.id} … is not closed by }}',
    'HINT: It is a Mustache template, for example {"id": {{#json}}doc.id{{/json}}}.',
  ],
  [
    "a column in a template that does not exist, which is taken with a warning",
    insert(", webhook_json", `, '{"id": "{{doc.idd}}"}'`),
    'webhook "w": webhook_json names doc.idd, and public.orders has no such column: it renders as nothing',
    "HINT: It has id, status, total.",
  ],
  [
    "a text outside of quotation marks, which is taken with a warning",
    insert(", webhook_json", `, '{"status": {{doc.status}}}'`),
    'webhook "w": webhook_json has {{doc.status}} outside of quotation marks: the body is no JSON',
    "HINT: Write {{#json}}doc.status{{/json}}, which gives any value as JSON.",
  ],
  [
    "a number that can be NULL, which is taken with a warning",
    insert(", webhook_json", `, '{"id": {{doc.id}}, "total": {{doc.total}}}'`),
    'webhook "w": webhook_json has {{doc.total}} outside of quotation marks: where it is NULL, the body is no JSON',
    "HINT: Write {{#json}}doc.total{{/json}}, which gives any value as JSON.",
  ],
  [
    "a body that is no JSON, which is taken with a warning",
    insert(", webhook_json", ", 'id={{doc.id}}'"),
    'webhook "w": webhook_json gives no JSON, whatever the values are',
    'HINT: For example {"id": {{#json}}doc.id{{/json}}, "status": "{{doc.status}}"}; select * from walhook.preview(…) shows the body.',
  ],
  [
    "security without a secret",
    insert(", enable_security", ", true"),
    'webhook "w": enable_security needs webhook_secret',
    "HINT: Set both: webhook_secret = 'whsec_' || encode(…, 'base64'), or any other text.",
  ],
  [
    "a secret that was read before",
    "update walhook.webhook set webhook_secret = '***'",
    'webhook "taken": *** stands for a stored secret, and there is none',
    "HINT: Secrets cannot be read back: write the secret itself.",
  ],
  [
    "a secret in any variable",
    insert(", webhook_secret", ", 'env:MY_SECRET'"),
    'webhook "w": env: must name a variable that begins with WALHOOK_SECRET_',
    "DETAIL: So nobody can sign with, and then guess, what else stands in the environment of the bridge.",
    "HINT: For example env:WALHOOK_SECRET_ORDERS.",
  ],
  [
    "a rate of nothing",
    "update walhook.webhook set rate_limit = 0",
    'webhook "taken": rate_limit is 0',
    "HINT: Requests a second, 0.001 (one in 1000 seconds) to 100000. NULL: no limit. To send nothing: enabled = false.",
  ],
  [
    "a proxy with a password, which is not repeated",
    "update walhook.webhook set proxy = 'http://user:hidden@proxy:3128'",
    'webhook "taken": proxy with credentials is no URL of a proxy',
    "DETAIL: Columns pass through the write-ahead log, so they are no place for a password: the bridge's environment (HTTPS_PROXY) is.",
    "HINT: For example http://proxy.internal:3128 or socks5h://proxy.internal:1080; direct: none, whatever the bridge's environment says.",
  ],
  [
    "a proxy without a scheme",
    "update walhook.webhook set proxy = 'proxy:3128'",
    "webhook \"taken\": proxy 'proxy:3128' is no URL of a proxy",
    "DETAIL: It begins with http://, https://, socks4://, socks4a://, socks5:// or socks5h://, and has no path.",
    "HINT: For example http://proxy.internal:3128 or socks5h://proxy.internal:1080; direct: none, whatever the bridge's environment says.",
  ],
  [
    "the path of a certificate",
    "update walhook.webhook set tls_profile = '/etc/ca.pem'",
    'webhook "taken": tls_profile "/etc/ca.pem" is no name',
    "DETAIL: It is no path: the operator's folder WALHOOK_TLS_DIRECTORY holds <name>.ca.pem, and <name>.cert.pem with <name>.key.pem.",
    "HINT: Small letters, digits, - and _: for example erp.",
  ],
  [
    "NULL where there are two answers",
    "update walhook.webhook set enabled = null",
    'webhook "taken": enabled is NULL',
    "HINT: It is true or false; left out of an INSERT, it has its default.",
  ],
  [
    "a header's name with a blank",
    "insert into walhook.webhook_header (webhook, key, value) values ('taken', 'X Key:', 'a')",
    'webhook "taken": "X Key:" is no name of a header',
    "HINT: Letters, digits and -, without blanks and without a colon: for example X-Api-Key.",
  ],
  [
    "a header of two lines",
    String.raw`insert into walhook.webhook_header (webhook, key, value) values ('taken', 'X-Key', E'a\nb')`,
    'webhook "taken": the value of header X-Key holds a line break or another control character',
    "HINT: A header is one line; several headers are several rows.",
  ],
  [
    "a header that no HTTP can carry",
    "insert into walhook.webhook_header (webhook, key, value) values ('taken', 'X-Price', '5 €')",
    'webhook "taken": the value of header X-Price holds "€", which no header can carry',
    "HINT: Put it into the body; a template may send it here as ASCII: {{#json}}doc.status{{/json}}.",
  ],
  [
    "a field by the name of a template",
    "insert into walhook.webhook_data (webhook, fieldname) values ('taken', 'doc.id')",
    'webhook "taken": public.orders has no column "doc.id"',
    "HINT: It has id, status, total.",
  ],
];

describe("a mistake is told in words, with what to do instead:", () => {
  it.each(MISTAKES.map(([what, sql, ...words]) => [what, sql, words] as const))("%s", async (_, sql, words) => {
    expect(await said(watched.admin, sql)).toEqual(words);
  });

  it("nothing is said about templates, headers and conditions that are right", async () => {
    for (const sql of [
      insert(
        ", webhook_json",
        `, '{"id": {{doc.id}}, "status": "{{doc.status}}", "total": {{#json}}doc.total{{/json}}, "changed": {{#json}}changed{{/json}}}'`,
      ),
      insert(
        ", webhook_json",
        `, '{"list": [{{#changed}}"{{.}}"{{^-last}},{{/-last}}{{/changed}}], "by": "{{name}} {{event}}"}'`,
      ),
      insert(", condition", ", $$doc.status = 'Paid'$$"),
      "insert into walhook.webhook_header (webhook, key, value) values ('taken', 'Authorization', 'Bearer ä-{{doc.status}}')",
    ]) {
      expect([sql, await said(watched.admin, sql)]).toEqual([sql, []]);
    }
  });
});
