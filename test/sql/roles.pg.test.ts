import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pageUrl } from "../docs/generated.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { refusal } from "./watched-database.ts";

const suffix = randomBytes(4).toString("hex");
const analyst = `analyst_${suffix}`;
const monitor = `monitor_${suffix}`;
const other = `other_${suffix}`;
const reader = `reader_${suffix}`;
let system: System;

beforeAll(async () => {
  system = await startSystem("roles");
  await system.look(`create role ${analyst} login in role walhook_analyst; create role ${monitor} login in role walhook_monitor;
    create role ${other} login in role walhook_admin; create role ${reader} login;
    grant usage on schema public to ${other}, ${reader}`);
  await system.app(
    "create table orders (id int primary key, status text); create table salaries (id int primary key, amount int)",
  );
  await system.app(`revoke all on salaries from "${system.roles.admin}"; grant select on salaries to ${other}`);
});
afterAll(async () => {
  await system.look(
    `drop owned by ${analyst}, ${monitor}, ${other}, ${reader}; drop role ${analyst}, ${monitor}, ${other}, ${reader}`,
  );
  await system.drop();
});

const as = (role: string, sql: string): Promise<unknown> => system.db.queryAs(role, sql);
const codeOf = async (role: string, sql: string): Promise<string | undefined> => (await refusal(as(role, sql))).code;
const stateOf = async (name: string): Promise<unknown> =>
  (await system.look("select state from walhook.webhook_state where name = $1", [name]))[0]?.["state"];

describe("an author gains nothing", () => {
  it("by a webhook, a change of another's, a header, a data row or a preview on a table that he may not read", async () => {
    await as(
      other,
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
      values ('theirs', 'salaries', 'after_insert', '${system.receiver.url}/theirs', 'doc.amount > 0')`,
    );
    const { admin } = system.roles;
    for (const sql of [
      "insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url) values ('mine', 'salaries', 'after_insert', 'https://example.com')",
      "update walhook.webhook set request_url = 'https://example.com' where name = 'theirs'",
      "update walhook.webhook set name = 'mine' where name = 'theirs'",
      "update walhook.webhook set condition = null where name = 'theirs'",
      "update walhook.webhook set webhook_json = '{}' where name = 'theirs'",
      "insert into walhook.webhook_header (webhook, key, value) values ('theirs', 'X-A', '{{doc.amount}}')",
      "insert into walhook.webhook_data (webhook, fieldname) values ('theirs', 'amount')",
      "select walhook.rotate_secret('theirs')",
      "select * from walhook.preview('theirs', event => 'after_insert')",
      "select walhook.send_test('theirs')",
      `insert into walhook.question (token, kind, webhook_id, content) select gen_random_uuid(), 'test', id, '{}' from walhook.webhook where name = 'theirs'`,
      "select * from walhook.add_webhook('salaries', 'after_insert', 'https://example.com')",
    ]) {
      const { message, code } = await refusal(as(admin, sql));
      expect([sql, code, message]).toEqual([sql, "42501", expect.stringContaining("may not read every column of")]);
    }
    expect(await system.look("select author::text from walhook.webhook")).toEqual([{ author: other }]);
  });

  it("from the queue, while a delivery waits: names of documents, nothing of rows", async () => {
    await system.startBridge();
    system.receiver.answer({ status: 500, body: "no" });
    await system.app("insert into salaries values (1, 4711)");
    await eventually(
      async () => (await system.look("select from walhook.webhook_queue where attempts > 0")).length === 1,
    );
    expect(await system.admin("select webhook, docname, attempts > 0 as tried from walhook.webhook_queue")).toEqual([
      { webhook: "theirs", docname: "1", tried: true },
    ]);
    for (const column of ["body", "url", "headers", "change", "last_error", "*"]) {
      expect(await codeOf(system.roles.admin, `select ${column} from walhook.webhook_queue`)).toBe("42501");
    }
  });

  it("when his right is revoked later: held within a second, nothing lost, and it goes on when he has it again", async () => {
    system.receiver.answer({});
    await as(other, "update walhook.webhook set retry_schedule = '{0 s}' where name = 'theirs'");
    await system.webhook("orders", "orders", "after_insert");
    await system.app("insert into orders values (1)");
    await eventually(() => system.received("orders").length === 1);
    await system.app(`revoke select on orders from "${system.roles.admin}"`);
    const revokedAt = Date.now();
    await eventually(async () => (await stateOf("orders")) === "held", { everyMs: 20 });
    // A second, and what a loaded machine adds.
    expect(Date.now() - revokedAt).toBeLessThan(5_000);
    await system.app("insert into orders values (2), (3)");
    await system.caughtUp();
    expect(system.received("orders")).toHaveLength(1);
    await system.app(`grant select on orders to "${system.roles.admin}"`);
    await eventually(() => system.received("orders").length === 3);
    // The state is said beside the deliveries, which do not wait for it.
    await eventually(async () => (await stateOf("orders")) === "ok");
  });

  it("and another admin's change makes him the author; the condition stays its writer's, until he says it himself", async () => {
    await system.app(`grant select on orders to ${other}`);
    await system.admin("update walhook.webhook set condition = 'doc.id > 100' where name = 'orders'");
    const owners = () =>
      system.look(`select w.author::text as author, p.proowner::regrole::text as owner from walhook.webhook w
      join pg_proc p on p.proname = w.condition_function and p.pronamespace = 'walhook_condition'::regnamespace where w.name = 'orders'`);
    await as(other, "update walhook.webhook set request_url = request_url || '?by=other' where name = 'orders'");
    expect(await owners()).toEqual([{ author: other, owner: system.roles.admin }]);
    await as(other, "update walhook.webhook set condition = 'doc.id > 100' where name = 'orders'");
    expect(await owners()).toEqual([{ author: other, owner: other }]);
  });
});

describe("the roles", () => {
  it("of an analyst: reads all that was sent, of every table, and writes nothing", async () => {
    await system.settled();
    const { rows } = await system.db.queryAs(
      analyst,
      "select request_body from walhook.webhook_request_log where doctype = 'salaries' and outcome = 'delivered'",
    );
    expect(JSON.stringify(rows)).toContain("4711");
    for (const sql of [
      "select from walhook.webhook_secret",
      "select from walhook.webhook_in_force",
      "select value from walhook.webhook_header",
      "select walhook.replay_dead_letters('theirs')",
      "select walhook.expunge('msg_x')",
      "select from salaries",
      "delete from walhook.webhook_request_log",
    ]) {
      expect([sql, await codeOf(analyst, sql)]).toEqual([sql, "42501"]);
    }
  });

  it("of a monitor: states and figures, nothing of a row: not in words of errors either", async () => {
    await as(monitor, "select webhook, outcome, error_class, duration_ms from walhook.webhook_request_log");
    await as(monitor, "select name, state, health, breaker from walhook.webhook_state");
    await as(monitor, "select type, webhook, state from walhook.alert");
    for (const sql of [
      ...[
        "docname",
        "url",
        "error",
        "request_headers",
        "request_body",
        "response_headers",
        "response_body",
        "remote_address",
      ].map((column) => `select ${column} from walhook.webhook_request_log`),
      "select last_error from walhook.webhook_state",
      "select last_failure from walhook.webhook_state",
      "select last_error from walhook.alert",
      "select docname from walhook.webhook_queue",
      "select docname from walhook.dead_letter",
      "select from walhook.webhook",
      "select request_url from walhook.webhook",
    ]) {
      expect([sql, await codeOf(monitor, sql)]).toEqual([sql, "42501"]);
    }
  });

  it("a dead letter's words are for who may read its table, or the queue", async () => {
    await as(other, "update walhook.webhook set retry_schedule = '{}' where name = 'theirs'");
    await system.caughtUp();
    system.receiver.answer({ status: 500 });
    await system.app("insert into salaries values (2, 1)");
    const words = async (role: string): Promise<unknown> =>
      (await system.db.queryAs(role, "select docname, last_error from walhook.dead_letter where webhook = 'theirs'"))
        .rows[0];
    await eventually(() => words(analyst));
    expect(await words(system.roles.admin)).toEqual({ docname: "2", last_error: null });
    expect(await words(other)).toEqual({ docname: "2", last_error: expect.stringContaining("500") });
    expect(await words(analyst)).toEqual({ docname: "2", last_error: expect.stringContaining("500") });
    system.receiver.answer({});
  });
});

describe("the recipe for row-level security on the log, as docs/rights.md has it", () => {
  it("shows rows of one's own tables alone; analysts see all; the bridge goes on logging", async () => {
    const page = await readFile(pageUrl("rights.md"), "utf8");
    const recipe = /<!-- recipe: row-level security -->\n```sql\n(.*?)```/s.exec(page)?.[1];
    if (recipe === undefined) throw new Error("docs/rights.md has no recipe");
    await system.look(recipe.replaceAll("walhook_login", system.roles.bridge).replaceAll("walhook_reader", reader));
    await system.app(`grant select on orders to ${reader}`);
    await system.app("insert into orders values (101); insert into salaries values (3, 1)");
    await system.settled();
    const doctypes = async (role: string): Promise<unknown> =>
      (await system.db.queryAs(role, "select distinct doctype from walhook.webhook_request_log order by 1")).rows.map(
        (row) => (row as { doctype: string }).doctype,
      );
    expect(await doctypes(reader)).toEqual(["orders"]);
    expect(await doctypes(analyst)).toEqual(["orders", "salaries"]);
    const logged = await system.look(
      "select from walhook.webhook_request_log where doctype = 'orders' and docname = '101' and outcome = 'delivered'",
    );
    expect(logged).toHaveLength(1);
    // A name means what whoever asks makes of it; the table's number does not.
    const { rows: seen } = await system.db
      .query(
        `set session authorization ${reader}; create temp table salaries (); select distinct doctype from walhook.webhook_request_log; reset session authorization`,
      )
      .then((results) => (results as unknown as { rows: unknown[] }[])[2] ?? { rows: [] });
    expect(seen).toEqual([{ doctype: "orders" }]);
    await system.app(`revoke select on orders from ${reader}`);
    expect(await doctypes(reader)).toEqual([]);
  });
});

describe("a role's name is a name, not an identifier", () => {
  it("who is written with capitals is nobody else: not the role of the same letters, nor what that may read", async () => {
    const [small, large] = [`twin_${suffix}`, `TWIN_${suffix}`];
    await system.look(
      `create role ${small} login; create role "${large}" login in role walhook_admin; grant usage on schema public to ${small}, "${large}"`,
    );
    await system.app(`grant select on salaries to ${small}`);
    const insert = `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url) values ('twin', 'salaries', 'after_insert', 'https://example.com')`;
    expect((await refusal(as(large, insert))).message).toContain(`role ${large} may not read every column`);
    await system.app(`grant select on salaries to "${large}"`);
    await as(large, insert);
    await as(large, "insert into walhook.webhook_header (webhook, key, value) values ('twin', 'X-A', '1')");
    expect(
      await system.look(
        "select r.rolname::text as author from walhook.webhook w join pg_roles r on r.oid = w.author where w.name = 'twin'",
      ),
    ).toEqual([{ author: large }]);
    await as(large, "delete from walhook.webhook where name = 'twin'");
    await system.look(`drop owned by ${small}, "${large}"; drop role ${small}, "${large}"`);
  });
});
