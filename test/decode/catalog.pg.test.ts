import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCatalog } from "../../src/decode/catalog.ts";
import type { RelationMessage } from "../../src/decode/pgoutput-message.ts";
import type { JsonKind, Relation } from "../../src/decode/relation.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";

let database: TestDatabase;
let questions: number;
const relations = new Map<string, Relation>();

/** Column type to what `to_jsonb` makes of it. */
const KINDS: readonly (readonly [type: string, kind: JsonKind])[] = [
  ["boolean", { kind: "boolean" }],
  ["smallint", { kind: "number" }],
  ["integer", { kind: "number" }],
  ["bigint", { kind: "number" }],
  ["real", { kind: "number" }],
  ["double precision", { kind: "number" }],
  ["numeric(10, 2)", { kind: "number" }],
  ["json", { kind: "json" }],
  ["jsonb", { kind: "json" }],
  ["date", { kind: "date" }],
  ["timestamp", { kind: "timestamp" }],
  ["timestamptz(3)", { kind: "timestamptz" }],
  ["text", { kind: "text" }],
  ["varchar(5)", { kind: "text" }],
  ["char(5)", { kind: "text" }],
  ["name", { kind: "text" }],
  ["bytea", { kind: "text" }],
  ["uuid", { kind: "text" }],
  ["interval", { kind: "text" }],
  ["time", { kind: "text" }],
  ["money", { kind: "text" }],
  ["inet", { kind: "text" }],
  ["oid", { kind: "text" }],
  ["regclass", { kind: "text" }],
  ["xml", { kind: "text" }],
  ["int4range", { kind: "text" }],
  ["int4multirange", { kind: "text" }],
  ["tsvector", { kind: "text" }],
  ["point", { kind: "text" }],
  ["mood", { kind: "text" }],
  ["mood[]", { kind: "array", element: { kind: "text" }, delimiter: "," }],
  ["integer[][]", { kind: "array", element: { kind: "number" }, delimiter: "," }],
  ["box[]", { kind: "array", element: { kind: "text" }, delimiter: ";" }],
  ["jsonb[]", { kind: "array", element: { kind: "json" }, delimiter: "," }],
  ["int2vector", { kind: "array", element: { kind: "number" }, delimiter: "," }],
  ["positive", { kind: "number" }],
  ["very_positive", { kind: "number" }],
  ["positive[]", { kind: "array", element: { kind: "number" }, delimiter: "," }],
  ["tags", { kind: "array", element: { kind: "text" }, delimiter: "," }],
  [
    "pair",
    {
      kind: "composite",
      attributes: [
        { name: "a", type: { kind: "number" } },
        { name: "at", type: { kind: "timestamptz" } },
      ],
    },
  ],
  [
    "nest[]",
    {
      kind: "array",
      delimiter: ",",
      element: {
        kind: "composite",
        attributes: [
          {
            name: "pairs",
            type: {
              kind: "array",
              delimiter: ",",
              element: {
                kind: "composite",
                attributes: [
                  { name: "a", type: { kind: "number" } },
                  { name: "at", type: { kind: "timestamptz" } },
                ],
              },
            },
          },
          { name: "Odd Name", type: { kind: "boolean" } },
        ],
      },
    },
  ],
];

beforeAll(async () => {
  database = await createDatabase("catalog");
  await database.query(`
    create type mood as enum ('sad', 'ok');
    create domain positive as numeric check (value > 0);
    create domain very_positive as positive check (value > 10);
    create domain tags as text[];
    create type pair as (a int, gone text, at timestamptz);
    alter type pair drop attribute gone;
    create type nest as (pairs pair[], "Odd Name" boolean);
    create table wide (id int primary key, ${KINDS.map(([type], index) => `c${index} ${type}`).join(", ")});
  `);
  await database.query(`
    create domain small as smallint;
    create table submittable (id int, docstatus small, primary key (id));
    create table textual (docstatus text, a int, b int, c int, unique (a, b), primary key (c, a));
    create table included (a int, b int, primary key (a) include (b));
    create table plain (id int);
  `);
  questions = 0;
  const counted = {
    query: (sql: string, params: unknown[]) => {
      questions++;
      return database.query(sql, params);
    },
  };
  const catalog = createCatalog(counted);
  const tables = ["wide", "submittable", "textual", "included", "plain"];
  const messages = await Promise.all(tables.map(relationMessage));
  for (const relation of await Promise.all(messages.map((message) => catalog.describeRelation(message)))) {
    relations.set(relation.table, relation);
  }
});

afterAll(() => database.drop());

/** What the server would send of a table under FULL. */
async function relationMessage(table: string): Promise<RelationMessage> {
  const { rows } = await database.query(
    `select a.attrelid::int8::text as oid, a.attname as name, a.atttypid::int8::text as type from pg_attribute a
     where a.attrelid = $1::regclass and a.attnum > 0 order by a.attnum`,
    [table],
  );
  const columns = rows as { oid: string; name: string; type: string }[];
  return {
    tag: "relation",
    oid: Number(columns[0]?.oid),
    schema: "public",
    name: table,
    identity: "f",
    columns: columns.map(({ name, type }) => ({ name, isKey: true, typeOid: Number(type), typeModifier: -1 })),
  };
}

describe("the catalog", () => {
  it.each(KINDS.map(([type, kind], index) => [type, kind, index] as const))("knows %s", (_type, kind, index) => {
    expect(relations.get("wide")?.columns[index + 1]?.json).toEqual(kind);
  });

  it("gives the primary key's columns in the key's order, without those it only includes", () => {
    expect(relations.get("textual")?.keyIndexes).toEqual([3, 1]);
    expect(relations.get("included")?.keyIndexes).toEqual([0]);
    expect(relations.get("plain")?.keyIndexes).toEqual([]);
  });

  it("takes docstatus for one only where it is an integer, or a domain over one", () => {
    expect(relations.get("submittable")?.docstatusIndex).toBe(1);
    expect(relations.get("textual")?.docstatusIndex).toBe(-1);
  });

  it("answers what is asked together with one question", () => {
    expect(questions).toBe(1);
  });

  it("asks again at every message", async () => {
    const catalog = createCatalog({ query: (sql, params) => database.query(sql, params) });
    const message = await relationMessage("plain");
    expect((await catalog.describeRelation(message)).keyIndexes).toEqual([]);
    await database.query("alter table plain add primary key (id)");
    expect((await catalog.describeRelation(message)).keyIndexes).toEqual([0]);
  });

  it("does not wait for a lock on the table", async () => {
    const catalog = createCatalog({ query: (sql, params) => database.query(sql, params) });
    const message = await relationMessage("textual");
    const locker = await database.connect();
    await locker.query("begin; lock table textual in access exclusive mode");
    expect((await catalog.describeRelation(message)).keyIndexes).toEqual([3, 1]);
    await locker.query("rollback");
  });

  it("knows built-in types and the flagged key of a table that is gone", async () => {
    const catalog = createCatalog({ query: (sql, params) => database.query(sql, params) });
    const message: RelationMessage = {
      tag: "relation",
      oid: 1,
      schema: "gone",
      name: "t",
      identity: "d",
      columns: [
        { name: "id", isKey: true, typeOid: 20, typeModifier: -1 },
        { name: "custom", isKey: false, typeOid: 4_000_000_000, typeModifier: -1 },
        { name: "list", isKey: false, typeOid: 1016, typeModifier: -1 },
      ],
    };
    const relation = await catalog.describeRelation(message);
    expect(relation).toMatchObject({ doctype: "gone.t", keyIndexes: [0], isPartitioned: false, omitted: [] });
    expect(relation.columns.map((column) => column.json.kind)).toEqual(["number", "text", "array"]);
    expect((await catalog.describeRelation({ ...message, identity: "f" })).keyIndexes).toEqual([]);
  });

  it("fails where the database does", async () => {
    const catalog = createCatalog({ query: () => Promise.reject(new Error("down")) });
    await expect(catalog.describeRelation(await relationMessage("plain"))).rejects.toThrow("down");
  });
});
