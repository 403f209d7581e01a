import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { refusal } from "./watched-database.ts";

let system: System;
/** The owner of tables has a domain with a check of their own, which refuses to run as anybody else: they would be told. */
beforeAll(async () => {
  system = await startSystem("domain_checks");
  const { app } = system.roles;
  await system.app(`create function evil(v text) returns boolean language plpgsql as $$
      begin
        if current_user <> '${app}' then raise exception 'code of the owner runs as %', current_user; end if;
        return true;
      end $$;
    create domain d as text check (evil(value)); create domain dk as int check (evil(value::text));
    create type comp as (a dk);
    create table plain (id int primary key, v d, w d[]); insert into plain values (1, 'x', '{x}');
    create table of_domain (id dk primary key, v d); insert into of_domain values (1, 'x');
    create table of_array (id dk[] primary key); insert into of_array values ('{1}');
    create table of_composite (id comp primary key); insert into of_composite values ('(1)')`);
  for (const table of ["plain", "of_domain", "of_array", "of_composite"]) {
    await system.app(`grant select on ${table} to "${system.roles.admin}"`);
    await system.webhook(table, table, "after_insert, on_update");
  }
});
afterAll(() => system.drop());

describe("the check of a domain never runs for whoever asks about a table,", () => {
  const question = (more: string): string => `select walhook.question_about(${more})::text as question`;
  it.each([
    ["a preview of any row", question("'of_domain', null, null, null, null, 1, 'public'")],
    ["a preview of a document", question("'of_domain', '1', null, null, null, 1, 'public'")],
    ["a preview with old", question(`'of_domain', '1', 'on_update', null, '{"id": 1, "v": "y"}', 1, 'public'`)],
    ["a preview by a key that is an array", question("'of_array', '{1}', null, null, null, 1, 'public'")],
    ["a preview by a key that is a composite", question("'of_composite', '(1)', null, null, null, 1, 'public'")],
    ["why, by a domain", "select verdict from walhook.why('of_domain', '1')"],
    ["why, by an array", "select verdict from walhook.why('of_array', '{1}')"],
    ["why, by a composite", "select verdict from walhook.why('of_composite', '(1)')"],
    ["retry_now", "select walhook.retry_now('of_array', '{1}')"],
    ["replay_dead_letters", "select walhook.replay_dead_letters('of_array', '{1}')"],
    ["replay", "select * from walhook.replay('of_composite', docname => '(1)')"],
    ["backfill", "select walhook.backfill('of_domain')"],
  ])("%s", async (_, sql) => {
    for (const ask of [system.look, system.admin])
      expect((await ask(sql)).length).toBe(1 + (sql.includes("why(") ? 1 : 0));
  });

  it("and what could not be asked about without it is refused in words", async () => {
    const old = question(`'plain', '1', 'on_update', null, '{"w": ["y"]}', 1, 'public'`);
    expect((await refusal(system.admin(old))).message).toBe('old: column "w" of public.plain cannot be read here');
    const backfill = await refusal(system.admin("select walhook.backfill('of_array')"));
    expect(backfill.message).toBe("public.of_array has a key that cannot be read without code of its owner");
    expect(backfill.hint).toBe("Such a table cannot be backfilled.");
  });
});
