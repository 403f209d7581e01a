import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { refusal } from "./watched-database.ts";

let system: System;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;

interface Why {
  readonly docevent: string | null;
  readonly verdict: string;
  readonly reason: string;
}
/** All but the rows "now". */
async function why(table: string, docname: string, role = system.roles.admin, since?: string): Promise<readonly Why[]> {
  const { rows } = await system.db.queryAs(
    role,
    `select docevent, verdict, reason from walhook.why($1, $2${since === undefined ? "" : `, ${since}`}) where verdict <> 'now'`,
    [table, docname],
  );
  return rows as Why[];
}
const unknown = (reason: unknown) => [{ docevent: null, verdict: "unknown", reason }];
const SENT = [{ docevent: "after_insert", verdict: "sent", reason: "HTTP 200" }];

beforeAll(async () => {
  system = await startSystem("why_documents");
  await system.look(`create role ${analyst} login in role walhook_analyst`);
  await system.app(`create table orders (id int primary key, status text);
    create table pairs (country text, day date, number int, note text, primary key (country, day, number));
    create table keyless (word text);
    create table ids (id uuid primary key);
    create table codes (code char(5) primary key, note text);
    create table secrets (id int primary key);
    create table mine (id int primary key, owner text);
    create table parts (id int, day date, primary key (id, day)) partition by range (day);
    create table parts_1 partition of parts default`);
  for (const table of ["orders", "pairs", "keyless", "ids", "codes", "secrets", "mine", "parts"]) {
    await system.webhook(table, table, "after_insert");
  }
  const bridge = await system.startBridge();
  await system.app(`insert into orders values (2, 'Open'), (3, 'Open');
    insert into pairs values ('D"E', '2026-01-31', 7, null); insert into keyless values ('x');
    insert into ids values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'); insert into codes values ('cd', null);
    insert into parts values (1, '2026-01-31'); delete from orders where id = 3`);
  await system.settled();
  await bridge.stop();
  await system.app("insert into secrets values (8); insert into mine values (8, 'me')");
  await system.look(`revoke select on secrets from "${system.roles.admin}"`);
});
afterAll(() => system.drop());

describe("walhook.why of a document of which nothing is known", () => {
  it("says so, and that there is no such document", async () => {
    expect(await why("orders", "42")).toEqual(
      unknown("there is no document '42' in orders, and nothing is known of one; key columns: id"),
    );
    expect(await why("pairs", '["DE","2026-01-31","8"]')).toEqual(
      unknown(
        `there is no document '["DE","2026-01-31","8"]' in pairs, and nothing is known of one; key columns: country, day, number`,
      ),
    );
  });

  it("says that there is one where it can be seen", async () => {
    await system.app("insert into orders values (99, 'Open')");
    expect(await why("orders", "99")).toEqual(
      unknown("there is a document '99' in orders, and nothing is known of a change of it; key columns: id"),
    );
  });

  it("says how far back to look for what is older", async () => {
    const [row] = await why("orders", "2", undefined, "now() + interval '1 minute'");
    expect(row?.reason).toMatch(
      /^there is a document '2' in orders, and nothing is known of a change of it since .*, but before: since => '.*'; key columns: id$/,
    );
    const [, since = ""] = /since => ('.*');/.exec(row?.reason ?? "") ?? [];
    expect(await why("orders", "2", undefined, since)).toEqual(SENT);
  });

  it("says nothing of whether it exists to who may not read the table, or not all of its rows", async () => {
    const shy = (table: string) => unknown(`nothing is known of a document '8' in ${table}; key columns: id`);
    await expect(why("secrets", "8")).rejects.toMatchObject({ code: "42501" });
    expect(await why("secrets", "8", analyst)).toEqual(shy("secrets"));
    await system.look(`grant select on mine to ${analyst}`);
    await system.app("alter table mine enable row level security");
    expect(await why("mine", "8", analyst)).toEqual(shy("mine"));
  });

  it("has nothing to add to what is known of a document that is gone", async () => {
    expect(await why("orders", "3")).toEqual(SENT);
  });
});

describe("the name of a document", () => {
  it("may be written as its type takes it", async () => {
    expect(await why("orders", " 002")).toEqual(SENT);
    expect(await why("ids", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")).toEqual(SENT);
    expect(await why("pairs", '[ "D\\"E", "2026-01-31", 7 ]')).toEqual(SENT);
    expect(await why("pairs", '["D\\u0022E","January 31, 2026","7"]')).toEqual(SENT);
  });

  it("is what the table has where that is text", async () => {
    expect(await why("codes", "cd   ")).toEqual(SENT);
  });

  it("that is none is refused with the key and an example", async () => {
    expect(await refusal(why("orders", "order-1"))).toEqual({
      message: "'order-1' is no name of a document of orders",
      hint: "Its key is id (integer): the name is its value as text.",
      code: "22023",
    });
    for (const name of ["DE", '["DE"]', '["DE","2026-01-31",null]', '{"country":"DE"}', '["DE","some day","1"]']) {
      const refused = await refusal(why("pairs", name));
      expect(refused).toMatchObject({
        message: `'${name}' is no name of a document of pairs`,
        hint: `Its key is (country, day, number): the name is a JSON array of their texts, for example '["DE","2026-01-31","3"]'.`,
      });
      const [, example = ""] = /example '(.*)'/.exec(refused.hint ?? "") ?? [];
      expect(await why("pairs", example)).toMatchObject([{ verdict: "unknown" }]);
    }
    await expect(system.admin("select from walhook.why('orders', null)")).rejects.toThrow("which document of orders?");
  });

  it("is none at all in a table without key: its changes are found by their commit", async () => {
    const [row] = await why("keyless", "x");
    expect(row).toMatchObject({
      verdict: "unknown",
      reason: expect.stringMatching(/^table keyless has no primary key, so its rows have no docname/),
    });
    const [lsn] = await system.look("select lsn::text from walhook.webhook_request_log where doctype = 'keyless'");
    const [, query = ""] = /(select \* from .*) and lsn = …/.exec(row!.reason) ?? [];
    expect((await system.db.queryAs(analyst, `${query} and lsn = $1`, [lsn!["lsn"]])).rowCount).toBe(1);
  });

  it("is the root's, also where a partition is given", async () => {
    expect(await why("parts_1", '["1","2026-01-31"]')).toEqual(SENT);
    expect(await why("parts_1", '["2","2026-01-31"]')).toEqual(
      unknown(`there is no document '["2","2026-01-31"]' in parts, and nothing is known of one; key columns: id, day`),
    );
  });
});
