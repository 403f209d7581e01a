import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectionConfig } from "../../src/db/connection.ts";
import { Conditions } from "../../src/match/conditions.ts";
import { cuttableProxy } from "../replication/cuttable-proxy.ts";
import { eventually } from "../support/eventually.ts";
import { question, startConditionWorld, type Compiled, type ConditionWorld } from "./condition-world.ts";

type Row = Readonly<Record<string, string | null>>;

let world: ConditionWorld;
let conditions: Conditions;

function newConditions(timeoutMs = 2_000): Conditions {
  return new Conditions({ connection: connectionConfig(world.bridgeUrl, "conditions"), timeoutMs });
}

beforeAll(async () => {
  world = await startConditionWorld("asking");
  await world.app(`
    create type mood as enum ('sad', 'ok', 'happy');
    create domain price as numeric not null check (value >= 0);
    create type address as (city text, zip integer);
    create collation caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table things (
      id bigint primary key, mood mood, tags text[], data jsonb, during tstzrange, amount numeric, at timestamptz,
      day date, price price, address address, name text collate caseless, plain text, raw bytea, ok boolean,
      doc text, old text, event text, "select" integer, "Mixed ""Case" text, lengths interval, code char(5),
      bits bit(3), dubious double precision, moods mood[]);
    create table sums (id integer primary key, a integer, b integer,
      total integer generated always as (coalesce(a, 0) + coalesce(b, 0)) stored, "odd ""name" text);
    create table customers (id bigint primary key, vip boolean);
    insert into customers values (1, true), (2, false)`);
  conditions = newConditions();
});
afterAll(async () => {
  await conditions.close();
  await world.drop();
});

async function kinds(compiled: Compiled, ...rows: Parameters<typeof question>[1][]): Promise<readonly string[]> {
  const [verdicts = []] = await conditions.ask([question(compiled, ...rows)]);
  return verdicts.map((verdict) => ("message" in verdict ? `${verdict.kind}: ${verdict.message}` : verdict.kind));
}

async function decide(condition: string, doc: Row, old: Row | null = null, event = "on_update"): Promise<string> {
  const [kind] = await kinds(await world.compile(condition, "things"), { doc, old, event });
  return kind!;
}

describe("a condition is what Postgres says it is", () => {
  const cases: readonly (readonly [condition: string, doc: Row, kind: "true" | "false" | "null"])[] = [
    ["doc.id = 1", { id: "1" }, "true"],
    ["doc.id = 1", { id: "2" }, "false"],
    ["doc.id = 1", { id: null }, "null"],
    ["not (doc.id = 1)", { id: null }, "null"],
    ["(doc.id = 1) is unknown", { id: null }, "true"],
    ["null", {}, "null"],
    ["doc.id = 1 and doc.ok", { id: null, ok: "f" }, "false"],
    ["doc.ok", { ok: null }, "null"],
    ["'f'", {}, "false"],
    ["(select c.vip from customers c where c.id = doc.id)", { id: "9" }, "null"],
    ["doc.id in (select id from customers where vip is null or doc.ok)", { id: null, ok: "t" }, "null"],
    ["(doc.amount > 1) is not distinct from null", { amount: null }, "true"],
    ["doc.mood > 'sad'", { mood: "happy" }, "true"],
    ["doc.mood = any ('{sad,ok}')", { mood: "happy" }, "false"],
    ["'happy' = any (doc.moods)", { moods: "{ok,happy}" }, "true"],
    ["'a \"b' = any (doc.tags)", { tags: '{"a \\"b",c}' }, "true"],
    ["doc.data @> '{\"a\": [1]}'", { data: '{"a": [1, 2], "b": "\\"\\\\"}' }, "true"],
    ["doc.data ->> 'n' = '12345678901234567890.10'", { data: '{"n": 12345678901234567890.10}' }, "true"],
    ["doc.during @> '2026-01-15 12:00+00'::timestamptz", { during: '["2026-01-01 00:00:00+00",infinity)' }, "true"],
    ["doc.amount = 0.1 + 0.2", { amount: "0.3" }, "true"],
    ["doc.amount > 12345678901234567890.123456789", { amount: "12345678901234567890.123456790" }, "true"],
    ["doc.amount = 'NaN'", { amount: "NaN" }, "true"],
    ["doc.at = '2026-03-29 01:30:00+01'", { at: "2026-03-29 00:30:00+00" }, "true"],
    ["(doc.at at time zone 'Europe/Berlin')::date = '2026-01-02'", { at: "2026-01-01 23:30:00+00" }, "true"],
    ["doc.at::text = '2026-01-01 23:30:00+00'", { at: "2026-01-01 23:30:00+00" }, "true"],
    ["doc.day = '0044-03-15 BC'", { day: "0044-03-15 BC" }, "true"],
    ["doc.price > 9.99", { price: "10" }, "true"],
    ["doc.price is null", { price: null }, "true"],
    ["(doc.address).city = 'Köln'", { address: "(Köln,50667)" }, "true"],
    ["doc.name = 'PAID'", { name: "paid" }, "true"],
    ["doc.plain = 'PAID'", { plain: "paid" }, "false"],
    ["doc.raw = '\\x00ff'", { raw: "\\x00ff" }, "true"],
    ["doc.ok", { ok: "t" }, "true"],
    ["doc.lengths > '1 day'", { lengths: "1 mon" }, "true"],
    ["doc.code = 'ab'", { code: "ab   " }, "true"],
    ["doc.bits = b'101'", { bits: "101" }, "true"],
    ["doc.dubious = 'infinity'", { dubious: "Infinity" }, "true"],
    ["doc.doc = 'd' and doc.old = 'o' and doc.event = 'e'", { doc: "d", old: "o", event: "e" }, "true"],
    ["event = 'on_update'", { event: "something else" }, "true"],
    ['doc."select" = 3 and doc."Mixed ""Case" = \'\'', { select: "3", 'Mixed "Case': "" }, "true"],
    ["to_jsonb(doc) ->> 'plain' = 'x' and to_jsonb(doc) ? 'doc'", { plain: "x", price: "1" }, "true"],
    ["(select vip from customers where id = doc.id)", { id: "1" }, "true"],
    ["exists (select from customers c where c.id = doc.id and not c.vip)", { id: "1" }, "false"],
    ["current_user = session_user", {}, "false"],
    ["current_setting('TimeZone') = 'UTC' and current_setting('DateStyle') like 'ISO%'", {}, "true"],
    ["current_setting('transaction_read_only') = 'on'", {}, "true"],
  ];
  it.each(cases)("%s of %j is %s", async (condition, doc, kind) => {
    expect(await decide(condition, doc)).toBe(kind);
  });

  it("old is the row before; on insert all of it is NULL", async () => {
    const changed = "doc.plain = 'Paid' and old.plain is distinct from doc.plain";
    expect(await decide(changed, { plain: "Paid" }, { plain: "Open" })).toBe("true");
    expect(await decide(changed, { plain: "Paid" }, { plain: "Paid" })).toBe("false");
    expect(await decide(changed, { plain: "Paid" }, null, "after_insert")).toBe("true");
    expect(await decide("old is null and old.id is null", { id: "1" }, null, "after_insert")).toBe("true");
    expect(await decide("doc is distinct from old", { id: "1", price: "1" }, { id: "1", price: "1" })).toBe("false");
  });

  it("functions and operators are found on the author's search_path, as when it was written", async () => {
    await world.admin(`create function public.is_big(n numeric) returns boolean
      language plpgsql as $$ begin return n > 100; end $$`);
    expect(await decide("is_big(doc.amount)", { amount: "101" })).toBe("true");
    await world.db.query(`create schema elsewhere; grant usage, create on schema elsewhere to "${world.roles.admin}"`);
    await world.admin(`create function elsewhere.is_odd(n bigint) returns boolean language sql as 'select n % 2 = 1';
      set search_path = elsewhere, public`);
    const odd = await world.compile("is_odd(doc.id)", "things");
    await world.admin("set search_path = public");
    expect(await kinds(odd, { doc: { id: "3" } }, { doc: { id: "4" } })).toEqual(["true", "false"]);
  });

  it("a generated column counts as the table computes it", async () => {
    const compiled = await world.compile("doc.total = 5 and old.total is null", "sums");
    const doc: Row = compiled.columns.includes("total") ? { total: "5" } : { a: "2", b: "3" };
    // Of a row of NULLs the table would compute 0; where the stream carries the column, its NULL is what is known.
    const ofNulls = compiled.columns.includes("total") ? "null" : "false";
    expect(await kinds(compiled, { doc, old: null }, { doc: {}, old: null })).toEqual(["true", ofNulls]);
    const whole = await world.compile("(to_jsonb(doc) ->> 'total')::int = 5 and doc.\"odd \"\"name\" = 'x'", "sums");
    expect(await kinds(whole, { doc: { ...doc, 'odd "name': "x" } })).toEqual(["true"]);
  });

  it("answers hundreds of rows of many webhooks in their order", async () => {
    const [even, big] = [
      await world.compile("doc.id % 2 = 0", "things"),
      await world.compile("doc.id > 250", "things"),
    ];
    const rows = Array.from({ length: 500 }, (_, id) => ({ doc: { id: String(id) } }));
    const answers = await conditions.ask([question(even, ...rows), question(big, ...rows)]);
    expect(answers.map((verdicts) => verdicts.filter(({ kind }) => kind === "true").length)).toEqual([250, 249]);
    expect(answers[0]!.map(({ kind }) => kind === "true")).toEqual(rows.map((_, id) => id % 2 === 0));
  });
});

describe("a condition that is not immutable", () => {
  it("is asked about each row by itself, also where rows are alike", async () => {
    const toss = await world.compile("random() < 0.5", "things");
    const found = await kinds(toss, ...Array.from({ length: 200 }, () => ({ doc: {} })));
    expect(new Set(found)).toEqual(new Set(["true", "false"]));
  });
});

describe("one bad row", () => {
  it("harms only itself", async () => {
    const risky = await world.compile("100 / doc.id > 10", "things");
    const healthy = await world.compile("doc.id >= 0", "things");
    const rows = ["1", "0", "50", null].map((id) => ({ doc: { id } }));
    const answers = await conditions.ask([question(risky, ...rows), question(healthy, ...rows)]);
    expect(answers[0]).toEqual([
      { kind: "true" },
      { kind: "error", message: expect.stringContaining("division by zero (22012)") },
      { kind: "false" },
      { kind: "null" },
    ]);
    expect(answers[1]!.map(({ kind }) => kind)).toEqual(["true", "true", "true", "null"]);
  });

  it("also where the condition itself fails on its text, asserts or raises", async () => {
    await world.admin(`create or replace function public.picky(n bigint) returns boolean language plpgsql as $$
      begin
        assert n <> 1, 'one'; if n = 2 then raise exception 'two' using errcode = 'WH001'; end if; return true;
      end $$`);
    const picky = await world.compile("picky(doc.id)", "things");
    const found = await kinds(picky, { doc: { id: "1" } }, { doc: { id: "2" } }, { doc: { id: "3" } });
    expect(found[0]).toMatch(/^error: .*one/);
    expect(found[1]).not.toBe("true");
    expect(found[2]).toBe("true");
    const cast = await world.compile("doc.plain::integer > 1", "things");
    expect(await kinds(cast, { doc: { plain: "x" } }, { doc: { plain: "2" } })).toEqual([
      expect.stringMatching(/^error: .*invalid input syntax/),
      "true",
    ]);
  });
});

describe("a condition that does not work any more", () => {
  it("leaves its rows undecided until it is mended, and no other webhook's", async () => {
    await world.app(`create function fickle(bigint) returns boolean language sql immutable as 'select true'`);
    const [fickle, other] = [
      await world.compile("fickle(doc.id)", "things"),
      await world.compile("doc.id = 1", "things"),
    ];
    await world.app("drop function fickle(bigint)");
    const row = { doc: { id: "1" } };
    const answers = await conditions.ask([question(fickle, row), question(other, row)]);
    expect(answers[0]).toEqual([
      { kind: "undecided", message: expect.stringContaining("fickle(bigint) does not exist") },
    ]);
    expect(answers[1]).toEqual([{ kind: "true" }]);
    await world.app(`create function fickle(bigint) returns boolean language sql immutable as 'select true'`);
    expect(await conditions.askParked(question(fickle, row))).toEqual({ kind: "true" });
  });

  it("a right that its author has lost, a function that is gone", async () => {
    await world.app(`create table secrets (id bigint); grant select on secrets to "${world.roles.admin}"`);
    const reading = await world.compile("not exists (select from secrets s where s.id = doc.id)", "things");
    expect(await kinds(reading, { doc: { id: "1" } })).toEqual(["true"]);
    await world.app(`revoke select on secrets from "${world.roles.admin}"`);
    expect(await kinds(reading, { doc: { id: "1" } })).toEqual([
      expect.stringMatching(/^undecided: .*permission denied/),
    ]);
    const gone = { ...reading, functionName: "c999999_1" };
    expect(await kinds(gone, { doc: { id: "1" } })).toEqual([expect.stringMatching(/^undecided: .*c999999_1/)]);
  });

  it("a value that does not fit the type its column had is not the row's fault", async () => {
    await world.app("create table growing (id integer primary key, n integer)");
    const compiled = await world.compile("doc.n > 0", "growing");
    await world.app("alter table growing alter n type bigint");
    expect(await kinds(compiled, { doc: { n: "5000000000" } }, { doc: { n: "5" } })).toEqual([
      expect.stringMatching(/^undecided: the table's columns have changed/),
      "true",
    ]);
  });
});

describe("when the connection is lost", () => {
  it("the question is asked once more, on a new one", async () => {
    const compiled = await world.compile("doc.id = 1 or pg_sleep(0.2) is null", "things");
    const fresh = newConditions();
    try {
      const asked = fresh.ask([question(compiled, { doc: { id: "2" } })]);
      await eventually(async () => (await endQuestions()) > 0);
      expect(await asked).toEqual([[{ kind: "false" }]]);
    } finally {
      await fresh.close();
    }
  });

  it("and the database cannot be reached, nothing is decided, and the same question can be asked again", async () => {
    const compiled = await world.compile("doc.id = 1 or pg_sleep(0.2) is null", "things");
    const proxy = await cuttableProxy(world.bridgeUrl);
    const far = new Conditions({ connection: connectionConfig(proxy.url, "conditions"), timeoutMs: 2_000 });
    try {
      const asked = far.ask([question(compiled, { doc: { id: "2" } })]);
      asked.catch(() => {});
      await eventually(async () => (await activeQuestions()) > 0);
      await proxy.close();
      await expect(asked).rejects.toThrow(/ECONNREFUSED/);
    } finally {
      await far.close();
    }
    expect(await conditions.ask([question(compiled, { doc: { id: "1" } })])).toEqual([[{ kind: "true" }]]);
  });
});

const ASKED = "from pg_stat_activity where usename = $1 and state = 'active' and query like '%walhook.ask%'";

async function activeQuestions(): Promise<number> {
  return (await world.db.query(`select ${ASKED}`, [world.roles.bridge])).rowCount ?? 0;
}

async function endQuestions(): Promise<number> {
  return (await world.db.query(`select pg_terminate_backend(pid) ${ASKED}`, [world.roles.bridge])).rowCount ?? 0;
}
