import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startConditionWorld, type Compiled, type ConditionWorld } from "../match/condition-world.ts";
import { serverMajor } from "../support/database.ts";

let world: ConditionWorld;
beforeAll(async () => {
  world = await startConditionWorld("conditions");
  await world.app(`
    create type mood as enum ('sad', 'happy');
    create table orders (id integer primary key, status text, amount numeric(10, 2), note text, code varchar(20));
    create table strange (id integer primary key, doc text, old integer, event text, "select" integer, "Mixed ""Case" text);
    create table moods (id integer primary key, mood mood);
    create table priced (id integer primary key, price numeric, quantity integer,
      total numeric generated always as (price * quantity) stored, label text)`);
});
afterAll(() => world.drop());

describe("what a condition reads", () => {
  it.each([
    ["doc.status = 'Paid'", ["status"], false],
    ["doc.status = 'Paid' and old.amount < doc.amount", ["status", "amount"], true],
    ['DOC.Status is null and doc . "note" is null', ["status", "note"], false],
    ["event = 'on_update'", [], false],
    ["to_jsonb(doc) ? 'status'", ["id", "status", "amount", "note", "code"], false],
    ["doc is distinct from old", ["id", "status", "amount", "note", "code"], true],
    ["(doc).status = 'x'", ["id", "status", "amount", "note", "code"], false],
    ["row(doc.*) is not null", ["id", "status", "amount", "note", "code"], false],
    [`U&"d\\006fc".status = 'x'`, ["id", "status", "amount", "note", "code"], false],
    [`"doc".status = 'x'`, ["id", "status", "amount", "note", "code"], false],
    ["doc./* */status = 'x'", ["id", "status", "amount", "note", "code"], false],
    ["exists (select from orders as old where old.id = doc.id)", ["id", "status", "amount", "note", "code"], false],
  ])("%s reads %j", async (condition, columns, usesOld) => {
    expect(await world.compile(condition)).toMatchObject({ columns, usesOld });
  });

  it("names of columns hide none of doc, old and event", async () => {
    expect(await world.compile("doc.doc = event and doc.event = 'x' and doc.old = old.old", "strange")).toMatchObject({
      usesOld: true,
    });
    expect(await world.compile(`doc."Mixed ""Case" = 'x' and doc."select" > 0`, "strange")).toMatchObject({
      columns: ["select", 'Mixed "Case'],
    });
  });

  it("a generated column that the stream does not carry is computed from the columns it is made of", async () => {
    const major = await serverMajor(world.db);
    expect(await world.compile("doc.total > 10", "priced")).toMatchObject({
      columns: major >= 18 ? ["total"] : ["price", "quantity"],
    });
  });

  it("a virtual generated column, which is never in the stream, is computed too", async () => {
    if ((await serverMajor(world.db)) < 18) return;
    await world.app(`create table virtual (id integer primary key, "a ""b" integer, c text,
      twice integer generated always as ("a ""b" * 2) virtual)`);
    expect(await world.compile("doc.twice = 4", "virtual")).toMatchObject({ columns: ['a "b'] });
    expect(await world.compile("to_jsonb(doc) ? 'twice'", "virtual")).toMatchObject({ columns: ["id", 'a "b', "c"] });
  });

  it("of a partitioned table are the root's columns", async () => {
    await world.app(`create table parts (id integer, day date, note text, primary key (id, day)) partition by range (day);
      create table parts_1 (note text, day date not null, id integer not null);
      alter table parts attach partition parts_1 default`);
    expect(await world.compile("doc.note = 'x' and doc.id > 0", "parts")).toMatchObject({ columns: ["id", "note"] });
  });

  it("is immutable where it depends on doc, old and event alone; else a NOTICE says what that means", async () => {
    expect(await world.compile("doc.amount > 10 and lower(doc.status) like 'p%'")).toMatchObject({ isImmutable: true });
    for (const condition of ["random() < 0.5", "exists (select from moods)", "doc.id > extract(epoch from now())"]) {
      const { isImmutable, notices } = await world.compile(condition);
      expect(isImmutable).toBe(false);
      expect(notices.join()).toContain("reads more than doc, old and event");
    }
  });

  it("warns of a value that an UPDATE may leave out, unless the table carries all values", async () => {
    const toast = /NOTICE: .*grow beyond.*/;
    await world.app("create table notes (id integer primary key, amount numeric, note text, code varchar(20))");
    expect((await world.compile("doc.note = 'x'", "notes")).notices.join()).toMatch(toast);
    expect((await world.compile("doc.code = 'x' and doc.amount > 1", "notes")).notices.join()).not.toMatch(toast);
    expect((await world.compile("doc.note = 'x'", "notes", "after_insert")).notices.join()).not.toMatch(toast);
    await world.app("alter table notes replica identity full");
    expect((await world.compile("doc.note = 'x'", "notes")).notices.join()).not.toMatch(toast);
    await world.app(`create table essays (id integer primary key, body text);
      alter table essays alter body set storage external;
      insert into essays select 1, repeat('x', 10000)`);
    expect((await world.compile("doc.body like 'x%'", "essays")).notices.join()).toMatch(
      /WARNING: .*does not carry it/,
    );
  });
});

describe("a condition that cannot work is refused at the INSERT", () => {
  it.each([
    ["doc.statu = 'x'", /column doc\.statu does not exist.*doc\.status/],
    ["status = 'x'", /ambiguous.*Write doc\.status/],
    ["doc.id", /must be type boolean, not type integer/],
    ["doc.status + 1 > 2", /operator does not exist/],
    ["doc.status = ", /syntax error/],
    ["nothing(doc.id)", /function nothing\(integer\) does not exist/],
    ["exists (select from absent)", /relation "absent" does not exist/],
    ["doc.ctid is null", /ctid/],
  ])("%s", async (condition, message) => {
    expect(await world.refusal(condition)).toMatch(message);
  });

  it("and says which webhook, and repeats the condition", async () => {
    await expect(world.compile("doc.nope")).rejects.toMatchObject({
      message: expect.stringMatching(/^webhook "w\d+": condition: /),
      detail: expect.stringContaining("The condition is: doc.nope"),
      code: "42703",
    });
  });

  it("an empty condition is none", async () => {
    expect(await world.compile(" \n\t ")).toMatchObject({ functionName: null, columns: null });
  });

  it("a long condition with comments, quotes, dollars and line ends is taken as it is", async () => {
    const condition = `doc.status = 'it''s $x$ ; %' -- comment )
      /* ; ) */ and doc.note = $q$')); --$q$ and doc.note <> e'\\'' ${"and true ".repeat(500)}-- the end`;
    expect(await world.compile(condition)).toMatchObject({ columns: ["status", "note"] });
  });
});

describe("a condition's function", () => {
  it("is the author's own, for nobody to call but the sandbox", async () => {
    const { functionName } = await world.compile("true");
    const { rows } = await world.db.query(
      `select pg_get_userbyid(proowner)::text as owner, prosecdef, proconfig, proacl::text from pg_proc where proname = $1`,
      [functionName],
    );
    expect(rows[0]).toMatchObject({
      owner: world.roles.admin,
      prosecdef: true,
      proconfig: [expect.stringContaining("search_path=")],
    });
    const { proacl } = rows[0] as { proacl: string };
    expect(proacl).not.toMatch(/[{,]=X/);
    expect(proacl).toContain("walhook_sandbox=X");
    await expect(
      world.db.queryAs(world.roles.bridge, `select walhook_condition.${functionName}('{}', '{}', '{}')`),
    ).rejects.toThrow(/permission denied/);
    await expect(world.admin("select walhook.ask('c1_1', '{}', '{}', '{}')")).rejects.toThrow(/permission denied/);
  });

  it("is made anew when condition, DocType or author change, and only then; the old one stays until it may go", async () => {
    const { id, functionName } = await world.compile("doc.id > 0");
    const state = async (): Promise<unknown> =>
      (await world.admin("select revision, condition_function from walhook.webhook where id = $1", [id])).rows[0];
    await world.admin("update walhook.webhook set enabled = false, timeout = '2 s' where id = $1", [id]);
    expect(await state()).toEqual({ revision: 1, condition_function: `c${id}_1` });
    await world.admin(
      "update walhook.webhook set condition_function = 'evil', condition_columns = '{}' where id = $1",
      [id],
    );
    expect(await state()).toEqual({ revision: 1, condition_function: `c${id}_1` });
    await world.admin("update walhook.webhook set condition = 'doc.id > 1' where id = $1", [id]);
    expect(await state()).toEqual({ revision: 2, condition_function: `c${id}_2` });
    await world.admin("update walhook.webhook set condition = null where id = $1", [id]);
    expect(await state()).toEqual({ revision: 3, condition_function: null });

    const bridge = await world.db.connect(world.roles.bridge);
    const { rows } = await bridge.query<{ functions: string[] }>(
      "select functions, at_lsn from walhook.unused_conditions()",
    );
    expect(rows[0]!.functions).toEqual(expect.arrayContaining([functionName, `c${id}_2`]));
    await bridge.query("select walhook.drop_conditions($1)", [[functionName, `c${id}_2`]]);
    const left = await world.db.query("select from pg_proc where proname ~ $1", [`^c${id}_`]);
    expect(left.rowCount).toBe(0);
  });

  it("in use is never dropped, whoever asks", async () => {
    const { functionName } = await world.compile("doc.id > 0");
    const { rows } = await world.db.queryAs(
      world.roles.bridge,
      `select walhook.drop_conditions(array['${functionName}', 'ask']) as dropped`,
    );
    expect(rows[0]).toEqual({ dropped: 0 });
  });

  it("holds up none of the application's own DDL", async () => {
    await world.app(`create type colour as enum ('red'); create table paints (id integer primary key, colour colour);
      create function is_red(colour) returns boolean language sql immutable as $$ select $1 = 'red' $$`);
    await world.compile("is_red(doc.colour) and exists (select from moods)", "paints");
    await world.app(`alter table paints alter colour type text; drop function is_red(colour); drop type colour;
      drop table paints`);
    expect((await world.db.query("select to_regclass('paints') as left_over")).rows).toEqual([{ left_over: null }]);
  });

  it("is read as Postgres' defaults read it, whatever the author's session says, which stays as it was", async () => {
    await world.admin(
      "set check_function_bodies = off; set standard_conforming_strings = off; set transform_null_equals = on",
    );
    try {
      expect(await world.refusal("doc.nope")).toContain("does not exist");
      await world.compile("doc.status = '\\' and doc.note = null");
      const { rows } = await world.admin(`select current_setting('check_function_bodies') as a,
        current_setting('standard_conforming_strings') as b, current_setting('transform_null_equals') as c`);
      expect(rows[0]).toEqual({ a: "off", b: "off", c: "on" });
    } finally {
      await world.admin("reset check_function_bodies; reset standard_conforming_strings; reset transform_null_equals");
    }
  });

  it("does not take a name that somebody else has made", async () => {
    const { rows } = await world.db.query(
      "select last_value + 1 as next from pg_get_serial_sequence('walhook.webhook', 'id') s, lateral (select last_value from walhook.webhook_id_seq) l",
    );
    const { next } = rows[0] as { next: string };
    await world.admin(`create function walhook_condition.c${next}_1(text[], text[], text[]) returns boolean[]
      language sql as 'select null::boolean[]'`);
    expect((await world.compile("true")).functionName).toBe(`c${next}_2`);
  });
});

describe("when the DocType changes", () => {
  it("a condition over columns that changed is stale, and made anew by any UPDATE of its author's", async () => {
    await world.app("create table drifting (id integer primary key, n integer, other text)");
    const { id, functionName } = await world.compile("doc.n > 0", "drifting");
    const isStale = async (): Promise<unknown> =>
      (await world.db.queryAs(world.roles.bridge, `select walhook.condition_is_stale('${functionName}') as stale`))
        .rows[0];
    await world.app("alter table drifting add extra text, drop other");
    expect(await isStale()).toEqual({ stale: false });
    await world.app("alter table drifting alter n type bigint");
    expect(await isStale()).toEqual({ stale: true });
    await world.admin("update walhook.webhook set enabled = enabled where id = $1", [id]);
    const { rows } = await world.admin("select condition_function from walhook.webhook where id = $1", [id]);
    expect(rows[0]).toEqual({ condition_function: `c${id}_2` });
  });
});

describe("what a condition's author writes into the description of its function", () => {
  it.each(["99999999999999999: id integer", "4294967296: id integer", "0: id integer", "none", ""])(
    "raises no error: with %j it is stale, and made anew by the next UPDATE",
    async (description) => {
      const { id, functionName } = await world.compile("doc.id > 0");
      await world.admin(
        `comment on function walhook_condition.${functionName}(text[], text[], text[]) is '${description}'`,
      );
      const { rows } = await world.db.queryAs(
        world.roles.bridge,
        `select walhook.condition_is_stale('${functionName}') as stale`,
      );
      expect(rows).toEqual([{ stale: true }]);
      await world.admin("update walhook.webhook set enabled = enabled where id = $1", [id]);
      const saved = await world.admin("select condition_function from walhook.webhook where id = $1", [id]);
      expect(saved.rows).toEqual([{ condition_function: `c${id}_2` }]);
    },
  );
});

describe("a function that an earlier version made, which says FALSE for NULL", () => {
  /** As 050 made them, with the search_path that the author had then. */
  async function madeEarlier(condition: string): Promise<Compiled> {
    const compiled = await world.compile(condition);
    await world.admin(
      `select walhook.create_as('elsewhere, public', format($f$create or replace function walhook_condition.%I(text[], text[], text[]) returns boolean[]
           language plpgsql stable security definer set search_path from current as %L$f$, $1::text,
           E'#variable_conflict use_column\nbegin return (' || walhook.condition_query($2, s.row_source, false, '$1', '$2', '$3') || E'); end'))
         from walhook.condition_source('orders'::regclass, $3) s`,
      [compiled.functionName, condition, [...compiled.columns]],
    );
    await world.db.query(
      `set session_replication_role = replica; update walhook.webhook set condition_tells_null = null where id = ${compiled.id}; set session_replication_role = origin`,
    );
    return compiled;
  }
  const stateOf = async (id: number): Promise<unknown> =>
    (
      await world.admin(
        "select condition_function as f, condition_tells_null as tells from walhook.webhook where id = $1",
        [id],
      )
    ).rows[0];
  const ask = async (functionName: string, docs: readonly string[]): Promise<unknown> =>
    (
      await world.db.queryAs(
        world.roles.bridge,
        `select walhook.ask('${functionName}', $1::text[], array_fill(null::text, array[cardinality($1)]), array_fill('x'::text, array[cardinality($1)])) as a`,
        [docs],
      )
    ).rows[0];

  it("goes on working, and is made anew with the next change of its webhook by its author, names meaning what they meant", async () => {
    await world.db.query(`create schema elsewhere; grant usage, create on schema elsewhere to "${world.roles.admin}"`);
    await world.admin(
      "create function elsewhere.is_paid(text) returns boolean language sql as $$ select $1 = 'Paid' $$",
    );
    await world.admin("set search_path = elsewhere, public");
    const { id, functionName } = await madeEarlier("is_paid(doc.status)");
    await world.admin("reset search_path");
    expect(await ask(functionName, ["{Paid}", "{Open}", "{NULL}"])).toEqual({ a: [true, false, false] });
    await world.admin("update walhook.webhook set enabled = false where id = $1", [id]);
    expect(await stateOf(id)).toEqual({ f: functionName, tells: null });
    await world.admin("update walhook.webhook set log_decisions = true where id = $1", [id]);
    expect(await stateOf(id)).toEqual({ f: `c${id}_2`, tells: true });
    expect(await ask(`c${id}_2`, ["{Paid}", "{Open}", "{NULL}"])).toEqual({ a: [true, false, null] });
  });

  it("stays where its condition can no longer be compiled, and stands in no change's way", async () => {
    await world.admin("create function public.is_rare(text) returns boolean language sql as $$ select $1 = 'Rare' $$");
    const { id, functionName } = await madeEarlier("is_rare(doc.status)");
    await world.admin("drop function public.is_rare(text)");
    await world.admin("update walhook.webhook set timeout = '3 s' where id = $1", [id]);
    expect(await stateOf(id)).toEqual({ f: functionName, tells: null });
    const { rows } = await world.admin("select timeout::text, revision from walhook.webhook where id = $1", [id]);
    expect(rows).toEqual([{ timeout: "00:00:03", revision: 1 }]);
  });

  it("is known by a column that the trigger fills, whatever a statement says of it", async () => {
    const { id, functionName } = await world.compile("doc.id > 0");
    await world.admin("update walhook.webhook set condition_tells_null = false where id = $1", [id]);
    expect(await stateOf(id)).toEqual({ f: functionName, tells: true });
    expect(await stateOf((await world.compile(" ")).id)).toEqual({ f: null, tells: null });
  });
});
