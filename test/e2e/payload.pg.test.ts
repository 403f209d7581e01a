import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("payload");
  await system.startBridge();
});
afterAll(() => system.drop());

const N1000 = `${"1234567890".repeat(50)}.${"0123456789".repeat(50)}`;

/** Edge values as SQL expressions, by column type; each type gets NULL as well, but the domain that refuses it. */
const VALUES: readonly (readonly [type: string, values: readonly string[]])[] = [
  ["boolean", ["true", "false"]],
  ["smallint", ["-32768", "32767"]],
  ["integer", ["-2147483648"]],
  ["bigint", ["9223372036854775807", "-9223372036854775808"]],
  ["numeric", [N1000, "'NaN'", "'Infinity'", "'-Infinity'", "1.500", "-0.0"]],
  ["numeric(12,2)", ["10.50"]],
  ["real", ["'NaN'", "'Infinity'", "1e-40", "0.1"]],
  ["double precision", ["'-Infinity'", "0.1", "1e308", "'-0'"]],
  ["money", ["'12.30'"]],
  ["text", [`E'a"b\\\\c\\n\\u2028\\u00e4\\U0001F600'`, "''", "'NULL'"]],
  ["varchar(10)", ["'x'"]],
  ["char(5)", ["'ab'"]],
  ['"char"', ["'c'"]],
  ["name", ["'abc'"]],
  ["bytea", ["'\\x00ff'", "''"]],
  ["date", ["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'294276-01-01'"]],
  ["time", ["'24:00:00'", "'01:02:03.000001'"]],
  ["timetz", ["'01:02:03.5+05:30'"]],
  ["timestamp", ["'infinity'", "'0044-03-15 01:02:03.000001 BC'", "'2024-02-29 00:00:00'"]],
  ["timestamptz", ["'-infinity'", "'0044-03-15 01:02:03.5+02 BC'", "'2024-02-29 23:59:59.999999-08'"]],
  ["interval", ["'1 year -2 mons 3 days -04:05:06.7'", "'0'"]],
  ["uuid", ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"]],
  ["json", [`'{"a": 1, "a":  1.10, "b": [null]}'`, "'null'"]],
  ["jsonb", [`'{"big": 123456789012345678901234567890.123, "e": 1e300}'`, "'null'", `'"s"'`]],
  ["jsonpath", ["'$.a[*] ? (@ > 1)'"]],
  ["xml", ["'<a>&amp;</a>'"]],
  ["inet", ["'::1/64'", "'10.0.0.1'"]],
  ["cidr", ["'10.0.0.0/8'"]],
  ["macaddr", ["'08:00:2b:01:02:03'"]],
  ["macaddr8", ["'08:00:2b:01:02:03:04:05'"]],
  ["bit(3)", ["'101'"]],
  ["varbit", ["'10101'"]],
  ["point", ["'(1.5,-2)'"]],
  ["line", ["'{1,2,3}'"]],
  ["lseg", ["'[(0,0),(1,1)]'"]],
  ["box", ["'(1,1),(0,0)'"]],
  ["path", ["'[(0,0),(1,1)]'"]],
  ["polygon", ["'((0,0),(1,1),(1,0))'"]],
  ["circle", ["'<(0,0),2>'"]],
  ["tsvector", [`'a:1 b:2A'`]],
  ["tsquery", [`'a & b'`]],
  ["int4range", ["'[1,5)'", "'empty'", "'(,)'"]],
  ["numrange", ["'[1.10,2.20]'"]],
  ["tstzrange", ["'[2024-01-01 00:00+00,infinity]'"]],
  ["daterange", ["'[2024-01-01,)'"]],
  ["int8multirange", ["'{[1,2),[5,9)}'"]],
  ["pg_lsn", ["'16/B374D848'"]],
  ["oid", ["4294967295"]],
  ["regclass", ["'pg_class'::regclass"]],
  ["xid8", ["'18446744073709551615'"]],
  ["integer[]", ["'{{1,2},{3,NULL}}'", "'{}'", "'[2:3]={7,8}'"]],
  ["text[]", [`array['a,b', 'c"d', '', null, 'NULL', 'e\\f']`]],
  ["numeric[]", ["array['NaN', 1.10, 'Infinity']::numeric[]"]],
  ["jsonb[]", [`array['{"a": [1.0]}', 'null']::jsonb[]`]],
  ["bytea[]", ["array['\\x01']::bytea[]"]],
  ["timestamptz[]", ["array['2024-02-29 00:00+01', 'infinity']::timestamptz[]"]],
  ["int4range[]", ["array['[1,2)', 'empty']::int4range[]"]],
  ["boolean[]", ["array[true, false, null]"]],
  ["mood", ["'so so'"]],
  ["mood[]", ["array['so so', null]::mood[]"]],
  ["positive", ["7"]],
  ["positive_list", ["'{1,2}'"]],
  ["pair", [`row(1, 'a"b,c')::pair`, "row(null, null)::pair"]],
  ["pair[]", [`array[row(1, 'x')::pair, null]`]],
  ["nested", [`row(row(2, '')::pair, '{{1},{2}}', 1.10)::nested`]],
];

const dataOf = (request: ReceivedRequest): Record<string, any> => JSON.parse(request.body.toString("utf8")).data;

describe("the doc of a webhook", () => {
  it("equals to_jsonb of the row, for every built-in type and the user's own", async () => {
    await system.app(`
      create type mood as enum ('so so', 'happy');
      create domain positive as integer not null check (value > 0);
      create domain positive_list as integer[];
      create type pair as (a integer, "B c" text);
      create type nested as (p pair, l integer[], n numeric);
    `);
    const columns = VALUES.map(([type], i) => `"c ${i}" ${type}`);
    await system.app(`create table wide (id integer primary key, ${columns.join(", ")})`);
    await system.webhook("wide", "wide", "after_insert");
    const count = Math.max(...VALUES.map(([, values]) => values.length)) + 1;
    for (let n = 0; n < count; n++) {
      const values = VALUES.map(([type, list]) => list[n] ?? (type === "positive" ? "1" : "null"));
      await system.app(`insert into wide values (${n}, ${values.join(", ")})`);
    }
    await system.settled();
    await eventually(() => system.received("wide").length === count);
    const requests = system.received("wide");
    await system.look("create table got (body text)");
    for (const request of requests) {
      await system.look("insert into got values ($1)", [request.body.toString("utf8")]);
    }
    const client = await system.db.connect();
    await client.query("set timezone = 'UTC'");
    const { rows } = await client.query(`
      select w.id, e.key, e.value::text as expected, (g.body::jsonb #> array['data', 'doc', e.key])::text as received
      from wide w join got g on (g.body::jsonb #>> '{data,doc,id}')::int = w.id, jsonb_each(to_jsonb(w)) e
      where e.value is distinct from g.body::jsonb #> array['data', 'doc', e.key]`);
    const named = rows.map((row: Record<string, any>) => ({ ...row, type: VALUES[Number(row["key"].slice(2))]?.[0] }));
    expect(named).toEqual([]);
    const [sizes] = (
      await client.query(`select count(*)::int as n from got g, jsonb_object_keys(g.body::jsonb #> '{data,doc}')`)
    ).rows;
    expect(sizes).toEqual({ n: count * (VALUES.length + 1) });
    const text = requests.map((request) => request.body.toString("utf8")).join("\n");
    for (const digits of [N1000, "1.500", "10.50", "9223372036854775807", "123456789012345678901234567890.123"]) {
      expect(text).toContain(digits);
    }
  });
});

describe("the request", () => {
  beforeAll(() =>
    system.app(`create table contact (id integer primary key, name text, total numeric(12,2), tags text[])`),
  );
  const insert = (id: number) =>
    system.app("insert into contact values ($1, $2, 1.50, '{a,b}')", [id, `Ann "A" & Söhne/${id}`]);
  const one = (webhook: string): Promise<ReceivedRequest> => eventually(() => system.received(webhook)[0]);

  it("has the chosen fields under their keys, as JSON or as a form", async () => {
    await system.webhook("json", "contact", "after_insert");
    await system.webhook("form", "contact", "after_insert", { request_structure: "Form URL-Encoded" });
    for (const webhook of ["json", "form"]) {
      await system.admin(
        `insert into walhook.webhook_data (webhook, fieldname, key) values ($1, 'name', 'who'), ($1, 'total', 'sum')`,
        [webhook],
      );
    }
    await insert(1);
    const json = await one("json");
    expect(json.headers["content-type"]).toMatch(/^application\/json/);
    expect(json.body.toString("utf8")).toContain("1.50");
    expect(JSON.parse(json.body.toString("utf8"))).toEqual({ who: 'Ann "A" & Söhne/1', sum: 1.5 });
    const form = await one("form");
    expect(form.headers["content-type"]).toMatch(/^application\/x-www-form-urlencoded/);
    expect(Object.fromEntries(new URLSearchParams(form.body.toString("utf8")))).toEqual({
      who: 'Ann "A" & Söhne/1',
      sum: "1.50",
    });
  });

  it("has a body and headers from templates", async () => {
    await system.webhook("template", "contact", "after_insert", {
      webhook_json: `{"text": "New: {{doc.name}}", "total": {{doc.total}}, "tags": {{#json}}doc.tags{{/json}}}`,
    });
    await system.admin(
      "insert into walhook.webhook_header (webhook, key, value) values ('template', 'X-Contact', 'c-{{doc.id}}')",
    );
    await insert(2);
    const request = await one("template");
    expect(JSON.parse(request.body.toString("utf8"))).toEqual({
      text: 'New: Ann "A" & Söhne/2',
      total: 1.5,
      tags: ["a", "b"],
    });
    expect(request.headers["x-contact"]).toBe("c-2");
  });

  it("goes to a dynamic URL, its values percent-encoded", async () => {
    await system.webhook("dynamic", "contact", "after_insert", {
      is_dynamic_url: true,
      request_url: `${system.receiver.url}/dynamic/{{doc.name}}?id={{doc.id}}`,
    });
    await insert(3);
    const request = await eventually(() => system.receiver.requests.find(({ path }) => path.startsWith("/dynamic/")));
    expect(request.path).toBe(`/dynamic/${encodeURIComponent('Ann "A" & Söhne/3')}?id=3`);
  });

  it("uses the method that is asked for", async () => {
    const methods = ["POST", "PUT", "PATCH", "DELETE"];
    for (const method of methods) {
      await system.webhook(method, "contact", "after_insert", { request_method: method });
    }
    await insert(4);
    for (const method of methods) {
      const request = await one(method);
      expect(request.method).toBe(method);
      expect(dataOf(request)["name"]).toBe("4");
    }
  });
});
