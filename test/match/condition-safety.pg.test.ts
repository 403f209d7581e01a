import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectionConfig } from "../../src/db/connection.ts";
import { Conditions } from "../../src/match/conditions.ts";
import { question, startConditionWorld, type Compiled, type ConditionWorld } from "./condition-world.ts";

let world: ConditionWorld;
let conditions: Conditions;

beforeAll(async () => {
  world = await startConditionWorld("safety");
  conditions = new Conditions({ connection: connectionConfig(world.bridgeUrl, "conditions"), timeoutMs: 2_000 });
  await world.app(`
    create table orders (id integer primary key, status text, "a""; drop table orders; --" text, "größe" text,
      "${"n".repeat(63)}" text);
    create table loot (id serial, what text); insert into loot (what) values ('gold');
    revoke all on loot from public; create table stash (what text);
    grant insert, select, update, delete on stash to "${world.roles.admin}"`);
  await world.app(`revoke select on loot from "${world.roles.admin}"`);
  await world.db.query(`insert into walhook.webhook_secret (webhook_id, secret)
    select id, 'whsec' from walhook.webhook where false`);
});
afterAll(async () => {
  await conditions.close();
  await world.drop();
});

async function verdict(compiled: Compiled): Promise<string> {
  const [[found] = []] = await conditions.ask([question(compiled, { doc: { id: "1", status: "Paid" } })]);
  return found === undefined ? "nothing" : "message" in found ? `${found.kind}: ${found.message}` : found.kind;
}

/** A function of the author's that runs one statement and says what became of it. */
async function tool(name: string, body: string): Promise<void> {
  await world.admin(`create or replace function public.${name}() returns text language plpgsql as $tool$
    begin ${body} exception when others then return 'refused: ' || sqlerrm; end $tool$`);
}

describe("a text that is more than one boolean expression is refused", () => {
  it.each([
    "true); insert into stash values ('x'); select (true",
    "true)); insert into stash values ('x'); select ((true",
    "true))); insert into stash values ('x'); select (((true",
    "true)) and true)) as x (y), lateral (values (((true",
    "true)) and true)) as walhook_value (walhook_verdict)) as walhook_answer, lateral (values (((true",
    "true)) and true)) union all (values (((true",
    "true)), ((true",
    "true)))) or ((((true",
    "true)) and (select count(doc.id) > 0) and ((true",
    "true; insert into stash values ('x')",
    "true); end; begin perform (true",
    "true)) or ((true",
    "true))) from stash where (((true",
    "true)) union all select ((true",
    "true) union all (select true",
    "true) order by (1",
    "true) group by (1",
    "true --",
    "true /*",
    "true) -- ",
    "true')); select (('",
    "true $$",
    "$$",
    "'; drop table stash; --",
    "$1 is null",
    "$2 is null or true",
    "count(*) > 0",
    "count(doc.id) > 0",
    "row_number() over () = 1",
    "generate_series(1, 2) = 1",
    "unnest(array[true, false])",
    "walhook_question.walhook_place",
    "found",
    "true into strict x",
    "insert into stash values ('x') returning true",
    "(insert into stash values ('x') returning true)",
    "(with x as (insert into stash values ('x') returning true) select * from x)",
    "(select true; select true)",
    "true, true",
    "*",
    "doc.*",
    "(select 1, 2)",
    "variadic array[true]",
    "begin",
  ])("%s", async (condition) => {
    // `true --` is one expression with a comment: the line ends before the parenthesis.
    if (condition === "true --") {
      expect(await verdict(await world.compile(condition))).toBe("true");
      return;
    }
    await world.refusal(condition);
    const { rows } = await world.admin("select count(*)::int as n from stash");
    expect(rows[0]).toEqual({ n: 0 });
  });
});

describe("a text that closes a pair of its parentheses and opens it again is still one value", () => {
  it.each([
    ["true) or (false", "true"],
    ["false) and (true", "false"],
    ["false) or (null", "null"],
    ["select false) union (select false", "false"],
    ["select true) union (select false", "error: the condition raised an error: more than one row"],
    ["select true) union all (select false where false", "true"],
    ["select true where false) union all (select false where false", "null"],
  ])("%s", async (condition, kind) => {
    expect(await verdict(await world.compile(condition))).toContain(kind);
  });
});

describe("the query that is run refuses by itself what is refused at the INSERT, should a name mean something else by then", () => {
  it.each([
    ["count(*) > 0", /aggregate functions are not allowed in VALUES/],
    ["count(doc.id) > 0", /aggregate functions are not allowed in FROM clause of their own query level/],
    ["count(old.id) > 0", /aggregate functions are not allowed in FROM clause of their own query level/],
    ["count(event) > 0", /aggregate functions are not allowed in FROM clause of their own query level/],
    ["(select count(doc.id)) > 0", /aggregate functions are not allowed in FROM clause of their own query level/],
    [
      "(select max(event) from loot) > ''",
      /aggregate functions are not allowed in FROM clause of their own query level/,
    ],
    ["count(walhook_question.walhook_place) > 0", /aggregate function/],
    ["grouping(doc.id) = 0", /grouping operations are not allowed/],
    ["row_number() over () = 1", /window functions are not allowed in VALUES/],
    ["generate_series(1, 2) = 1", /set-returning functions are not allowed in VALUES/],
    ["unnest(array[true, false])", /set-returning functions are not allowed in VALUES/],
    ["doc.id", /must be type boolean/],
    ["doc.*", /must be type boolean/],
    ["1", /must be type boolean/],
    ["true, true", /must be type boolean/],
    ["*", /syntax error/],
  ])("%s", async (condition, message) => {
    for (const isImmutable of [true, false]) {
      const { rows } = await world.db.query(
        `select walhook.condition_answers($1, s.row_source, true, $2, q.a, q.a, q.a) as query
           from walhook.condition_source('orders'::regclass, '{id,status}') s, (select $$array['{1,a}']$$ as a) q`,
        [condition, isImmutable],
      );
      await expect(world.db.query((rows as { query: string }[])[0]!.query)).rejects.toThrow(message);
    }
  });
});

describe("names that look like code are names", () => {
  it("quotes, semicolons, other letters, 63 bytes", async () => {
    const compiled = await world.compile(
      `doc."a""; drop table orders; --" = 'x' or doc.größe = 'y' or doc.${"n".repeat(63)} = 'z'`,
    );
    expect(compiled.columns).toHaveLength(3);
    for (const column of compiled.columns) {
      const value = { größe: "y", ["n".repeat(63)]: "z" }[column] ?? "x";
      expect(await conditions.ask([question(compiled, { doc: { [column]: value } })])).toEqual([[{ kind: "true" }]]);
    }
  });
});

describe("a condition gains nothing from who asks it", () => {
  it("cannot become the bridge, its members or the owner", async () => {
    for (const role of [
      "none",
      "walhook_bridge",
      "walhook_owner",
      "walhook_sandbox",
      world.roles.bridge,
      world.roles.app,
    ]) {
      await tool("become", `perform set_config('role', '${role}', false); return current_user;`);
      expect(await verdict(await world.compile("become() like 'refused: cannot set parameter \"role\"%'"))).toBe(
        "true",
      );
    }
    await tool("become", `perform set_config('session_authorization', '${world.roles.bridge}', false); return 'done';`);
    expect(await verdict(await world.compile("become() like 'refused: %'"))).toBe("true");
    await tool("become", "reset role; return current_user;");
    expect(await verdict(await world.compile(`become() = '${world.roles.admin}' or become() like 'refused: %'`))).toBe(
      "true",
    );
  });

  it("reads what its author can read, and no more", async () => {
    for (const table of ["loot", "walhook.webhook_secret", "walhook.webhook_in_force", "walhook.webhook_request_log"]) {
      await tool("peek", `execute 'select count(*) from ${table}'; return 'read';`);
      expect(await verdict(await world.compile("peek() like 'refused: permission denied%'"))).toBe("true");
    }
    await expect(
      world.compile("exists (select from walhook.webhook_secret where true)").then(verdict),
    ).resolves.toMatch(/undecided: .*permission denied/);
  });

  it("turned into SECURITY INVOKER by its author it is not run at all", async () => {
    const compiled = await world.compile("become() is null");
    await world.admin(`alter function walhook_condition.${compiled.functionName} security invoker`);
    expect(await verdict(compiled)).toMatch(/^undecided: /);
  });

  it("replaced by its author by something else it is held to its form", async () => {
    const compiled = await world.compile("true");
    const replace = (body: string): Promise<unknown> =>
      world.admin(`create or replace function walhook_condition.${compiled.functionName}(text[], text[], text[])
        returns boolean[] language plpgsql security definer as $$ begin ${body} end $$`);
    for (const body of [
      "return null;",
      "return '{}';",
      "return '{t,t}';",
      "return '{{t}}';",
      "return '[0:0]={t}';",
      "raise exception using errcode = 'WH001';",
    ]) {
      await replace(body);
      expect(await verdict(compiled)).toMatch(/^undecided: /);
    }
    for (const [body, kind] of [
      ["return '{t}';", "true"],
      ["return '{null}';", "null"],
    ] as const) {
      await replace(body);
      expect(await verdict(compiled)).toBe(kind);
    }
    await replace("return '{t}';");
    await world.admin(`create function walhook_condition.${compiled.functionName}(text[], text[], varchar[])
      returns boolean[] language sql as $$ select '{f}'::boolean[] $$`);
    expect(await verdict(compiled)).toBe("true");
  });

  it("another author's functions are out of reach", async () => {
    const theirs = await world.compile("true");
    const other = `other_${world.roles.admin}`;
    await world.db.query(`create role "${other}" login in role walhook_admin`);
    try {
      await expect(
        world.db.queryAs(other, `select walhook_condition.${theirs.functionName}('{}', '{}', '{}')`),
      ).rejects.toThrow(/permission denied/);
      for (const change of [
        `alter function walhook_condition.${theirs.functionName} security invoker`,
        `drop function walhook_condition.${theirs.functionName}`,
        `create or replace function walhook_condition.${theirs.functionName}(text[], text[], text[]) returns boolean[] language sql as 'select null::boolean[]'`,
        `select walhook.drop_conditions(array['${theirs.functionName}'])`,
        `select walhook.ask('${theirs.functionName}', '{}', '{}', '{}')`,
      ]) {
        await expect(world.db.queryAs(other, change)).rejects.toThrow(/permission denied|must be owner/);
      }
    } finally {
      await world.db.query(`drop role "${other}"`);
    }
  });

  it("what others plant in writable schemas is not found before the author's own path, nor by the asking itself", async () => {
    const compiled = await world.compile("doc.status = 'Paid' and lower(doc.status) = 'paid'");
    await world.app(`
      create function public.unnest(text[], text[], text[]) returns setof record language sql as 'select 1, 2, 3';
      create function public.array_agg(boolean) returns boolean[] language sql as $$ select '{f}'::boolean[] $$;
      create function public.lower(text) returns text language sql as $$ select 'planted' $$;
      create function public.planted(text, text) returns boolean language sql as 'select false';
      create operator public.= (leftarg = text, rightarg = text, function = public.planted)`);
    expect(await verdict(compiled)).toBe("true");
    expect(await verdict(await world.compile("doc.status = 'Paid' and lower(doc.status) = 'paid'"))).toBe("true");
    await world.app(`drop operator public.= (text, text); drop function public.planted(text, text), public.lower(text),
      public.array_agg(boolean), public.unnest(text[], text[], text[])`);
  });
});

describe("a condition leaves nothing behind", () => {
  it("cannot write, define or draw numbers", async () => {
    await world.db.query(`create sequence public.numbers; grant all on sequence numbers to "${world.roles.admin}"`);
    for (const statement of [
      "insert into stash values ('x')",
      "update stash set what = 'x'",
      "delete from stash",
      "create table walhook_condition.planted ()",
      "create temp table planted ()",
      "create function public.planted() returns int language sql as 'select 1'",
      "drop function public.become()",
      `grant "${world.roles.admin}" to public`,
      "perform nextval('numbers')",
      "perform set_config('transaction_read_only', 'off', true)",
      "set transaction read write",
      "commit",
    ]) {
      await tool("act", `${statement}; return 'done';`);
      expect(await verdict(await world.compile("act() like 'refused: %'")), statement).toBe("true");
    }
    const { rows } = await world.admin("select count(*)::int as n from stash");
    expect(rows[0]).toEqual({ n: 0 });
  });

  it("what Postgres lets through in a read-only transaction is rolled back", async () => {
    await tool("act", "perform lo_create(4711); notify planted; return 'done';");
    await verdict(await world.compile("act() is not null"));
    const { rows } = await world.db.query("select count(*)::int as n from pg_largeobject_metadata where oid = 4711");
    expect(rows[0]).toEqual({ n: 0 });
  });

  it("no setting reaches the next webhook of the same question, nor a later one", async () => {
    await world.admin(`create or replace function public.spoil() returns boolean language sql as $$
      select set_config('TimeZone', 'Asia/Tokyo', false) is not null and set_config('extra_float_digits', '-15', false) is not null
        and set_config('walhook.mine', 'x', false) is not null and set_config('statement_timeout', '1', false) is not null $$`);
    const spoiler = await world.compile("spoil()");
    const next = await world.compile(
      "current_setting('TimeZone') = 'UTC' and coalesce(current_setting('walhook.mine', true), '') = '' and (0.1::float8 + 0.2)::text like '0.3000%'",
    );
    const row = { doc: { id: "1" } };
    expect(await conditions.ask([question(spoiler, row), question(next, row)])).toEqual([
      [{ kind: "true" }],
      [{ kind: "true" }],
    ]);
    expect(await verdict(next)).toBe("true");
  });

  it("no lock stays: advisory locks of the session end with the question", async () => {
    const locking = await world.compile("pg_try_advisory_lock(42) and pg_try_advisory_xact_lock(43)");
    expect(await verdict(locking)).toBe("true");
    const { rows } = await world.db.query(
      "select count(*)::int as n from pg_locks where locktype = 'advisory' and objid in (42, 43)",
    );
    expect(rows[0]).toEqual({ n: 0 });
  });
});
