import fc, { type Arbitrary } from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askCatalog } from "../../src/decode/catalog-query.ts";
import { resolveJsonKind } from "../../src/decode/json-kind.ts";
import type { JsonKind } from "../../src/decode/relation.ts";
import { jsonValue } from "../../src/render/json-value.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { anyText, arrayLiteral, BUILT_IN_VALUES, compositeLiteral } from "./postgres-values.ts";

/** What the bridge's sessions pin. */
const SETTINGS = `
  set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set extra_float_digits = 1;
  set bytea_output = 'hex'; set lc_monetary = 'C'; set xmloption = 'content'`;

const SCHEMA = `
  create schema app;
  create type app.mood as enum ('sad', 'ok', 'so "happy", {really}');
  create domain app.positive as integer not null check (value > 0);
  create domain app.tags as text[];
  create type app.money_amount as (currency text, "the amount" numeric, at timestamptz, payload jsonb);
  create domain app.price as app.money_amount;
  create domain app.price_too as app.price check (coalesce(length((value).currency), 0) < 1000);
  create type app.line as (no integer, item text, prices app.money_amount[], total app.price, flags boolean[], moods app.mood[]);
  create type app.single as (single text);
  create type app.shrunk as (a integer, gone text, b text);
  alter type app.shrunk drop attribute gone;
  create type app.textrange as range (subtype = text);`;

/** Types whose input function refuses everything: no application can store them. */
const NO_INPUT = [
  "pg_node_tree",
  "pg_ndistinct",
  "pg_dependencies",
  "pg_mcv_list",
  "pg_brin_bloom_summary",
  "pg_brin_minmax_multi_summary",
  "gtsvector",
];

let database: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  database = await createDatabase("oracle");
  client = await database.connect();
  await client.query(SETTINGS);
  await client.query(SCHEMA);
});
afterAll(() => database.drop());

const raw = { getTypeParser: () => (text: string) => text } as unknown as pg.CustomTypesConfig;

async function kindOf(type: string): Promise<JsonKind> {
  const { rows } = await client.query<{ oid: number }>("select $1::regtype::oid::integer as oid", [type]);
  const typeOid = (rows[0] as { oid: number }).oid;
  const message = { oid: 0, columns: [{ typeOid }] } as unknown as Parameters<typeof askCatalog>[1][number];
  const { types } = await askCatalog(client, [message]);
  return resolveJsonKind(typeOid, types);
}

/** Lets Postgres read the inputs, and compares our JSON of its own text with to_jsonb. */
async function expectSameOf(type: string, kind: JsonKind, inputs: readonly string[]): Promise<void> {
  const { rows } = await client.query<{ value: string; expected: string }>({
    text: `select s.value, to_jsonb(s.value)::text as expected
           from unnest($1::text[]) with ordinality as u (input, n), lateral (select u.input::${type} as value) as s order by u.n`,
    values: [inputs],
    types: raw,
  });
  const ours = rows.map(({ value }) => jsonValue(value, kind));
  const { rows: different } = await client.query<{ n: string }>(
    `select n from unnest($1::text[], $2::text[]) with ordinality as t (ours, theirs, n)
     where ours::jsonb is distinct from theirs::jsonb`,
    [ours, rows.map(({ expected }) => expected)],
  );
  const failures = different.map(({ n }) => ({ ...rows[Number(n) - 1], ours: ours[Number(n) - 1] }));
  expect(failures).toEqual([]);
  for (const json of ours) JSON.parse(json);
}

async function expectSame(type: string, values: Arbitrary<string>, numRuns = 15): Promise<void> {
  const kind = await kindOf(type);
  await fc.assert(
    fc.asyncProperty(fc.array(values, { minLength: 20, maxLength: 40 }), (inputs) => expectSameOf(type, kind, inputs)),
    { numRuns },
  );
}

const sqlName = (type: string): string => (type === "char" ? '"char"' : `pg_catalog.${type}`);

const nullable = (values: Arbitrary<string>): Arbitrary<string | null> => fc.option(values, { freq: 8 });

async function exists(type: string): Promise<boolean> {
  const { rows } = await client.query("select 1 where to_regtype($1) is not null", [sqlName(type)]);
  return rows.length > 0;
}

describe("a value as JSON equals what to_jsonb makes of it", () => {
  it("knows every built-in type that a column can have", async () => {
    const { rows } = await client.query<{ name: string }>(`
      select typname as name from pg_type
      where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm') and typcategory <> 'A'
      union select typname from pg_type where typname in ('int2vector', 'oidvector')`);
    const known = new Set([...Object.keys(BUILT_IN_VALUES), ...NO_INPUT]);
    expect(rows.map(({ name }) => name).filter((name) => !known.has(name))).toEqual([]);
  });

  for (const [type, values] of Object.entries(BUILT_IN_VALUES)) {
    it(`for ${type}, alone and in arrays`, async () => {
      if (!(await exists(type))) return;
      await expectSame(sqlName(type), values);
      const delimiter = type === "box" ? ";" : ",";
      const array = fc.array(nullable(values), { maxLength: 5 }).map((all) => arrayLiteral(all, delimiter));
      await expectSame(`${sqlName(type)}[]`, array);
    });
  }

  it("for arrays of several dimensions and with bounds of their own", async () => {
    const matrix = fc
      .tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: -3, max: 3 }))
      .chain(([rows, columns, lower]) =>
        fc
          .array(fc.array(nullable(anyText), { minLength: columns, maxLength: columns }), {
            minLength: rows,
            maxLength: rows,
          })
          .map((all) => {
            const body = `{${all.map((row) => arrayLiteral(row)).join(",")}}`;
            return lower === 1 ? body : `[${lower}:${lower + rows - 1}][0:${columns - 1}]=${body}`;
          }),
      );
    await expectSame("text[]", matrix);
    await expectSameOf("integer[]", await kindOf("integer[]"), [
      "{}",
      "[0:2]={1,NULL,3}",
      "{{{1}},{{2}}}",
      "[-1:-1]={7}",
    ]);
  });

  it("for enums, domains and ranges of the application's own", async () => {
    const moods = fc.constantFrom("sad", "ok", 'so "happy", {really}');
    await expectSame("app.mood", moods);
    await expectSame(
      "app.mood[]",
      fc.array(nullable(moods)).map((all) => arrayLiteral(all)),
    );
    await expectSame("app.positive", fc.integer({ min: 1 }).map(String));
    await expectSame(
      "app.positive[]",
      fc.array(fc.integer({ min: 1 })).map((all) => arrayLiteral(all.map(String))),
    );
    await expectSame(
      "app.tags",
      fc.array(nullable(anyText)).map((all) => arrayLiteral(all)),
    );
    await expectSame("app.textrange", fc.constantFrom('["a","b""c")', "empty", '(,"\\\\")'));
  });

  it("for composite types, nested in arrays, domains and each other", async () => {
    const amount = fc
      .tuple(
        nullable(anyText),
        nullable(BUILT_IN_VALUES["numeric"] as Arbitrary<string>),
        nullable(BUILT_IN_VALUES["timestamptz"] as Arbitrary<string>),
        nullable(BUILT_IN_VALUES["jsonb"] as Arbitrary<string>),
      )
      .map(compositeLiteral);
    await expectSame("app.money_amount", amount);
    await expectSame("app.price_too", amount);
    await expectSame(
      "app.price_too[]",
      fc.array(amount, { maxLength: 3 }).map((all) => arrayLiteral(all)),
    );
    const line = fc
      .tuple(
        nullable(fc.integer().map(String)),
        nullable(anyText),
        nullable(fc.array(nullable(amount), { maxLength: 3 }).map((all) => arrayLiteral(all))),
        nullable(amount),
        nullable(fc.array(nullable(fc.constantFrom("t", "f"))).map((all) => arrayLiteral(all))),
        fc.constantFrom(null, "{}", '{ok,"so \\"happy\\", {really}",NULL}'),
      )
      .map(compositeLiteral);
    await expectSame("app.line", line);
    await expectSame(
      "app.line[]",
      fc.array(nullable(line), { maxLength: 3 }).map((all) => arrayLiteral(all)),
      4,
    );
    await expectSame(
      "app.single",
      nullable(anyText).map((text) => compositeLiteral([text])),
    );
    await expectSame("app.shrunk", fc.tuple(fc.constant("1"), nullable(anyText)).map(compositeLiteral));
  });

  it("for the rows of every system catalog", async () => {
    const { rows: catalogs } = await client.query<{ name: string }>(`
      select c.oid::regclass::text as name from pg_class c
      where c.relkind = 'r' and c.relnamespace = 'pg_catalog'::regnamespace
        and not exists (select from pg_attribute a where a.attrelid = c.oid and a.atttypid = 'anyarray'::regtype)`);
    expect(catalogs.length).toBeGreaterThan(50);
    for (const { name } of catalogs) {
      const kind = await kindOf(name);
      const { rows } = await client.query<{ value: string; expected: string }>(
        `select t::text as value, to_jsonb(t)::text as expected from ${name} t limit 100`,
      );
      const { rows: different } = await client.query(
        "select ours, theirs from unnest($1::text[], $2::text[]) as t (ours, theirs) where ours::jsonb is distinct from theirs::jsonb",
        [rows.map(({ value }) => jsonValue(value, kind)), rows.map(({ expected }) => expected)],
      );
      expect({ name, different }).toEqual({ name, different: [] });
    }
  });
});

describe("a value as JSON keeps what jsonb's equality does not see", () => {
  it("every digit of numeric and bigint", () => {
    const digits = `${"1234567890".repeat(100)}.${"0".repeat(100)}`;
    expect(jsonValue(digits, { kind: "number" })).toBe(digits);
    expect(jsonValue("9223372036854775807", { kind: "number" })).toBe("9223372036854775807");
    expect(jsonValue("-0", { kind: "number" })).toBe("-0");
  });
  it("microseconds", () => {
    expect(jsonValue("2026-11-24 16:55:32.000001+00", { kind: "timestamptz" })).toBe(
      '"2026-11-24T16:55:32.000001+00:00"',
    );
  });
  it("the text of json values", () => {
    const text = ' { "b":1.10,  "a":2, "a":3 }';
    expect(jsonValue(text, { kind: "json" })).toBe(text);
  });
});
