import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

interface Preview {
  readonly docname: string | null;
  readonly event: string;
  readonly fires: boolean;
  readonly condition_holds: boolean | null;
  readonly reason: string | null;
  readonly method: string | null;
  readonly url: string | null;
  readonly headers: Readonly<Record<string, string>> | null;
  readonly body: string | null;
  readonly signature: string | null;
  readonly id: string;
}

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/** What the transport adds. */
const TRANSPORTS_OWN = new Set(["host", "connection", "content-length", "accept-encoding"]);

let system: System;

beforeAll(async () => {
  system = await startSystem("preview");
  await system.app(`
    create type address as (street text, number int);
    create domain euro as numeric(12, 2);
    create table orders (
      id bigint primary key, status text, total euro, note text, tags text[], meta jsonb, raw json, at timestamptz, day date, span interval,
      flag boolean, code char(5), net inet, bytes bytea, place address, f8 float8, doubled int generated always as (2 * 21) stored);
    create table lines (order_id int, no int, "Qty ""x""" int, primary key (order_id, no));
    create table invoices (id int primary key, docstatus smallint, total numeric);
    create table events (id int, day date, what text, primary key (id, day)) partition by range (day);
    create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
    create table keyless (note text)`);
  await system.startBridge();
});
afterAll(() => system.drop());

async function preview(args: string, params: readonly unknown[] = []): Promise<readonly Preview[]> {
  return (await system.admin(`select * from walhook.preview(${args})`, params)) as unknown as readonly Preview[];
}

async function one(name: string): Promise<ReceivedRequest> {
  await system.settled();
  const requests = system.received(name);
  expect(requests.length).toBe(1);
  return requests[0]!;
}

function headersOnWire({ headers }: ReceivedRequest): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !TRANSPORTS_OWN.has(name)));
}

function inLowerCase(headers: Readonly<Record<string, string>> | null): Record<string, string> {
  return Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
}

/** What was received is what the preview of the same id and moment shows, byte for byte. */
async function expectAsOnWire(name: string, docname: string | null, event: string, more = ""): Promise<Preview> {
  const request = await one(name);
  const [logged] = await system.look("select delivery_id from walhook.webhook_request_log where webhook = $1", [name]);
  const [shown] = await preview(`$1, $2, $3, id => $4, sent_at => to_timestamp($5::bigint)${more}`, [
    name,
    docname,
    event,
    logged?.["delivery_id"],
    request.headers["webhook-timestamp"],
  ]);
  expect(shown).toBeDefined();
  expect(Buffer.from(shown!.body ?? "")).toEqual(request.body);
  expect(inLowerCase(shown!.headers)).toEqual(headersOnWire(request));
  expect(new URL(shown!.url ?? "").pathname + new URL(shown!.url ?? "").search).toBe(request.path);
  expect(shown!.method).toBe(request.method);
  return shown!;
}

const INSERT_ORDER = `insert into orders values (
  $1, 'Paid', 1234567890.10, E'ünï "q" \\\\ \\n', '{a,NULL,"b c"}', '{"b":[1.10,2],"a":null}', '{"z": 1.0, "a" :2}', '2026-11-24 12:00:00.123456+02',
  '2026-02-03', '1 mon 2 days 03:04:05.6', true, 'ab', '10.0.0.1/8', '\\x00ff', row('Main "St"', 5), 0.1)`;

describe("walhook.preview equals what is sent, byte for byte,", () => {
  const KINDS: readonly (readonly [name: string, more: Readonly<Record<string, unknown>>])[] = [
    ["envelope", {}],
    ["signed", { enable_security: true, webhook_secret: SECRET, signature_formats: "{standard,frappe,github,stripe}" }],
    ["form-envelope", { request_structure: "Form URL-Encoded" }],
    [
      "template",
      {
        webhook_json: `{"id": {{doc.id}}, "note": "{{doc.note}}", "doc": {{#json}}doc{{/json}}, "lsn": "{{lsn}}", "xid": {{xid}}, "at": "{{commit_time}}"}`,
      },
    ],
    [
      "form-template",
      { webhook_json: `{"id": {{doc.id}}, "tags": {{#json}}doc.tags{{/json}}}`, request_structure: "Form URL-Encoded" },
    ],
    ["batch", { batch_size: 10, enable_security: true, webhook_secret: SECRET }],
    ["ce-structured", { payload_format: "cloudevents-structured", enable_security: true, webhook_secret: SECRET }],
    ["ce-binary", { payload_format: "cloudevents-binary" }],
    ["put", { request_method: "PUT", condition: "doc.total > 5" }],
  ];

  it.each(KINDS)("%s", async (name, more) => {
    await system.webhook(name, "orders", "after_insert", more);
    const id = KINDS.findIndex(([other]) => other === name) + 1;
    await system.app(INSERT_ORDER, [id]);
    const shown = await expectAsOnWire(name, String(id), "after_insert");
    expect(shown).toMatchObject({ fires: true, reason: null, condition_holds: "condition" in more ? true : null });
    await system.admin("delete from walhook.webhook");
  });

  it("fields", async () => {
    await system.admin(
      "select walhook.add_webhook('orders', 'after_insert', $1, 'fields', data => $2, headers => $3)",
      [
        `${system.receiver.url}/fields`,
        '{"number": "id", "place": "place", "code": "code", "net": "net"}',
        '{"Authorization": "Bearer {{doc.id}}", "X-Static": "a", "Content-Type": "application/vnd.x+json"}',
      ],
    );
    await system.app(INSERT_ORDER, [101]);
    await expectAsOnWire("fields", "101", "after_insert");
    await system.admin("delete from walhook.webhook");
  });

  it("form-encoded fields", async () => {
    await system.admin(
      "select walhook.add_webhook('orders', 'after_insert', $1, 'form-fields', data => '[\"meta\", \"note\"]', structure => 'Form URL-Encoded')",
      [`${system.receiver.url}/form-fields`],
    );
    await system.app(INSERT_ORDER, [102]);
    await expectAsOnWire("form-fields", "102", "after_insert");
    await system.admin("delete from walhook.webhook");
  });

  it("a dynamic URL with credentials", async () => {
    const url = system.receiver.url.replace("//", "//user:pass@");
    await system.webhook("x", "orders", "after_insert", {
      request_url: `${url}/dynamic/{{doc.status}}?n={{doc.note}}`,
      is_dynamic_url: true,
    });
    await system.app(INSERT_ORDER, [103]);
    await system.settled();
    const request = system.receiver.requests.find(({ path }) => path.startsWith("/dynamic/Paid"))!;
    const [shown] = await preview("'x', '103', id => $1, sent_at => to_timestamp($2::bigint)", [
      request.headers["webhook-id"],
      request.headers["webhook-timestamp"],
    ]);
    expect(shown?.url).toBe(`${system.receiver.url}${request.path}`);
    expect(inLowerCase(shown!.headers)).toEqual(headersOnWire(request));
    await system.admin("delete from walhook.webhook");
  });

  it("an update with its old row, a delete, a submission, several key columns, a partition", async () => {
    await system.webhook("update", "invoices", "on_update, on_submit");
    await system.app("insert into invoices values (1, 0, 5), (2, 0, 6)");
    await system.app("update invoices set total = 7 where id = 1");
    await expectAsOnWire("update", "1", "on_update", `, old => '{"total": 5}'`);
    await system.admin("update walhook.webhook set name = 'submit', request_url = $1, webhook_docevent = 'on_submit'", [
      `${system.receiver.url}/submit`,
    ]);
    await system.app("update invoices set docstatus = 1 where id = 2");
    await expectAsOnWire("submit", "2", "on_submit");
    await system.webhook("trash", "invoices", "on_trash");
    await system.app("insert into invoices values (3, null, 8)");
    await system.app("delete from invoices where id = 3");
    await system.settled();
    await system.app("insert into invoices values (3, null, 8)");
    await expectAsOnWire("trash", "3", "on_trash");
    await system.webhook("lines", "lines", "after_insert");
    await system.app("insert into lines values (7, 2, 3)");
    await expectAsOnWire("lines", '["7","2"]', "after_insert");
    await system.webhook("partition", "events", "on_change");
    await system.app("insert into events values (1, '2026-05-05', 'a')");
    await expectAsOnWire("partition", '["1","2026-05-05"]', "on_change");
    await system.webhook("truncate", "keyless", "on_truncate");
    await system.app("truncate keyless");
    await expectAsOnWire("truncate", null, "on_truncate");
    await system.admin("delete from walhook.webhook");
  });

  it("names and values with quotes, dollars, percent signs, backslashes and other alphabets", async () => {
    const [table, key, other] = [`"Sälés ""o'r%s $1 \\"`, `"k'%1$s"" $1"`, '"doc"'];
    await system.app(`create table ${table} (${key} text, ${other} text, primary key (${key}, ${other}))`);
    await system.webhook("quotes", table, "after_insert", { condition: `doc.${key} is not null` });
    await system.app(`insert into ${table} values ($1, $2)`, [`a'b"c\\d $1 %s`, "日本 {{doc}}"]);
    await expectAsOnWire("quotes", JSON.stringify([`a'b"c\\d $1 %s`, "日本 {{doc}}"]), "after_insert");
    await system.admin("delete from walhook.webhook");
  });

  it("and a condition over rows can do nothing that the asker could not", async () => {
    await system.webhook("injected", "lines", "after_insert");
    for (const condition of [
      "true); drop table lines; select (true",
      "true) limit 1) as q; delete from walhook.webhook; --",
      "exists (select from walhook.webhook_secret)",
      "(select count(*) from walhook.answer) = 0",
      "nextval('walhook.doorbell') > 0",
    ]) {
      await expect(preview("'injected', condition => $1", [condition])).rejects.toThrow(
        /syntax error|permission denied|not allowed|cannot insert multiple commands/,
      );
    }
    await system.admin("delete from walhook.webhook");
  });
});
