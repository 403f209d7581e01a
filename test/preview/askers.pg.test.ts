import { randomBytes } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { said } from "../sql/said.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let admin: pg.Client;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

beforeAll(async () => {
  system = await startSystem("askers");
  admin = await system.db.connect(system.roles.admin);
  await system.app(`
    create table orders (id int primary key, status text, total numeric);
    insert into orders values (1, 'Draft', 5), (2, 'Paid', 50), (3, 'Paid', null)`);
  await system.webhook("plain", "orders", "on_update, after_insert");
  await system.webhook("signed", "orders", "after_insert", { enable_security: true, webhook_secret: SECRET });
  await system.startBridge();
});
afterAll(() => system.drop());

const rows = async (sql: string): Promise<readonly Record<string, unknown>[]> =>
  (await admin.query(sql)).rows as Record<string, unknown>[];

describe("whoever asks", () => {
  const role = `other_${randomBytes(4).toString("hex")}`;
  let other: pg.Client;
  beforeAll(async () => {
    await system.db.query(`create role ${role} login in role walhook_admin`);
    await system.db.query(`grant usage on schema public to ${role}`);
    other = await system.db.connect(role);
    await system.app(
      `create table mine (id int primary key); grant select on mine to ${role}; insert into mine values (1)`,
    );
    await other.query("select walhook.add_webhook('mine', 'after_insert', 'https://example.com/', 'mine')");
  });

  it("must be able to read the table, as its author must", async () => {
    const lines = await said(other, "select walhook.preview('signed', '1')");
    expect(lines[0]).toBe(`webhook "signed": role ${role} may not read every column of public.orders`);
    expect((await said(other, "select walhook.send_test('signed', '1')"))[0]).toBe(lines[0]);
    expect(
      (
        await said(
          other,
          "insert into walhook.question (token, kind, webhook_id) select gen_random_uuid(), 'test', id from walhook.webhook where name = 'signed'",
        )
      )[0],
    ).toBe(lines[0]);
  });

  it("gets no answer to a question about another's webhook that is put into the WAL beside walhook.preview", async () => {
    const [mine] = (await other.query("select id from walhook.webhook where name = 'mine'")).rows as { id: number }[];
    const [signed] = await system.look("select id from walhook.webhook where name = 'signed'");
    const token = "6f0f9f8c-0000-4000-8000-000000000001";
    const forged = {
      webhookId: signed!["id"],
      event: "after_insert",
      isWatched: true,
      isEnabled: true,
      held: null,
      waits: null,
      hasOld: false,
      id: "msg_x",
      sentAtMs: 1,
      lsn: "0/1",
      xid: 1,
      commitTimeUs: "1",
      relation: { oid: 1, schema: "public", name: "orders", columns: [{ name: "id", typeOid: 23 }] },
      rows: [{ row: ["666"], identity: "f" }],
    };
    await other.query(`insert into walhook.question (token, kind, webhook_id) values ('${token}', 'preview', $1)`, [
      mine!.id,
    ]);
    await other.query("select walhook.emit($1, true)", [
      JSON.stringify({ kind: "preview", token, untilMs: Date.now() + 60_000, question: forged }),
    ]);
    // The bridge answers whom it may concern; the database gives it to nobody else.
    await eventually(async () => (await system.look("select from walhook.answer")).length > 0);
    for (const sql of [
      "select from walhook.answer",
      "select from walhook.question",
      "select walhook.answer_question(gen_random_uuid(), 1, '{}')",
      `select walhook.take_test('${token}')`,
    ]) {
      expect([sql, (await said(other, sql))[0]]).toEqual([sql, expect.stringContaining("permission denied")]);
    }
    expect((await said(other, `select walhook.ask_bridge('${token}', '{"webhookId": ${mine!.id}}', '1 s')`))[0]).toBe(
      "the answer is to another question",
    );
    expect((await said(other, `select walhook.ask_bridge('${token}', '${JSON.stringify(forged)}', '1 s')`))[0]).toBe(
      "there is no such question",
    );
    await system.look("delete from walhook.answer");
  });

  it("cannot have a test sent, or the bridge disturbed, by a message of one's own", async () => {
    const before = system.receiver.requests.length;
    for (const message of [
      {},
      { kind: "test" },
      { kind: "preview", untilMs: 9e15, question: null },
      { kind: "preview", untilMs: 9e15, question: {} },
      { kind: "preview", untilMs: 9e15, question: { webhookId: 1, rows: [{}] } },
      { kind: "preview", untilMs: "x", question: { webhookId: 1, rows: [] } },
    ]) {
      await other.query("select walhook.emit($1::jsonb || jsonb_build_object('token', gen_random_uuid()), true)", [
        JSON.stringify(message),
      ]);
    }
    await system.caughtUp();
    expect((await rows("select fires from walhook.preview('plain', '1')"))[0]).toEqual({ fires: true });
    expect(system.receiver.requests.length).toBe(before);
  });
});

describe("a message that Walhook has not written", () => {
  const token = "6f0f9f8c-0000-4000-8000-000000000002";
  let nobody: pg.Client;
  const name = `nobody_${randomBytes(4).toString("hex")}`;
  beforeAll(async () => {
    await system.db.query(`create role ${name} login`);
    nobody = await system.db.connect(name);
    await system.look("delete from walhook.answer");
  });
  afterAll(async () => {
    await nobody.end();
    await system.db.query(`drop role ${name}`);
  });

  it.each([
    ["nothing", ""],
    ["no JSON", "{"],
    ["a test", JSON.stringify({ kind: "test", token })],
    ["a test with a signature", `${token} ${"0".repeat(64)} ${JSON.stringify({ kind: "test", token })}`],
    ["a token and no more", `${token} `],
  ])("is not heard: %s", async (_, message) => {
    await nobody.query("select pg_logical_emit_message(true, 'walhook', $1::text)", [message]);
    await nobody.query("select pg_logical_emit_message(true, 'walhook', decode(repeat('00', 1000), 'hex'))");
    await system.caughtUp();
    expect(await system.look("select from walhook.answer")).toEqual([]);
  });

  it("keeps nobody waiting, however much it asks: neither a preview nor a test", async () => {
    const [plain] = await system.look("select id, doctype_oid::int as oid from walhook.webhook where name = 'plain'");
    const question = {
      webhookId: plain!["id"],
      event: "after_insert",
      isWatched: true,
      isEnabled: true,
      held: null,
      waits: null,
      hasOld: false,
      id: null,
      sentAtMs: 1,
      lsn: "0/1",
      xid: 1,
      commitTimeUs: "1",
      relation: { oid: plain!["oid"], schema: "public", name: "orders", columns: [{ name: "id", typeOid: 23 }] },
      rows: Array.from({ length: 100_000 }, (_, n) => ({ row: [String(n)], identity: "f" })),
    };
    const asks = JSON.stringify({ kind: "preview", token, untilMs: Date.now() + 600_000, question });
    for (let n = 0; n < 10; n++)
      await nobody.query("select pg_logical_emit_message(true, 'walhook', $1::text)", [asks]);
    for (let n = 0; n < 100; n++) {
      const forged = JSON.stringify({ kind: "test", token: `6f0f9f8c-0000-4000-8000-${String(n).padStart(12, "0")}` });
      await nobody.query("select pg_logical_emit_message(true, 'walhook', $1::text)", [forged]);
    }
    const before = system.received("plain").length;
    await admin.query("select walhook.send_test('plain', '1')");
    expect((await rows("select fires from walhook.preview('plain', '1', wait => '10 s')"))[0]).toEqual({ fires: true });
    await eventually(() => system.received("plain").length === before + 1);
  });

  it("cannot be signed by who may not ask", async () => {
    for (const sql of ["select from walhook.message_key", "select walhook.emit('{}', true)"])
      expect((await said(nobody, sql))[0]).toContain("permission denied");
    expect((await said(admin, "select from walhook.message_key"))[0]).toContain("permission denied");
  });
});

describe("a question", () => {
  it("about more than a thousand documents is refused in words", async () => {
    await system.app("create table many (id int primary key); insert into many select generate_series(1, 1001)");
    await system.webhook("many", "many", "after_insert");
    const ask = (most: number): string =>
      `select docname from walhook.preview('many', condition => 'true', max_rows => ${most}, wait => '30 s')`;
    expect((await said(admin, ask(1001)))[0]).toBe(
      "the bridge could not answer: 1001 documents are asked about, at most 1000; ask for fewer: max_rows => 10. `walhook preview` on the command line takes any",
    );
    expect(await rows(ask(1000))).toHaveLength(1000);
  });

  it("whose answer would be too long is refused in words", async () => {
    await system.webhook("long", "many", "after_insert", { webhook_json: `"${"x".repeat(500_000)}{{doc.id}}"` });
    expect(
      (
        await said(admin, "select from walhook.preview('long', condition => 'true', max_rows => 100, wait => '30 s')")
      )[0],
    ).toContain("the bodies are too long for one answer");
  });

  it("is left alone when nobody waits any more, so that the next one has its turn", async () => {
    await system.webhook("slow", "many", "after_insert", { condition: "doc.id > 0 and pg_sleep(5) is not null" });
    expect(
      (
        await said(
          admin,
          "select from walhook.preview('slow', condition => 'true', max_rows => 1000, wait => '300 ms')",
        )
      )[0],
    ).toContain("the bridge is busy");
    expect((await rows("select fires from walhook.preview('plain', '1')"))[0]).toEqual({ fires: true });
  });
});
