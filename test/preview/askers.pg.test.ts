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

  it("gets no answer to a question that somebody writes into the WAL by hand", async () => {
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
    await other.query("select pg_logical_emit_message(true, 'walhook', $1)", [
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
      "",
      "{",
      "null",
      "[]",
      '{"kind":"test","token":"x"}',
      '{"kind":"test","token":"6f0f9f8c-0000-4000-8000-000000000002"}',
      '{"kind":"preview","token":"x","untilMs":9e15,"question":null}',
      '{"kind":"preview","token":"x","untilMs":9e15,"question":{}}',
      '{"kind":"preview","token":"6f0f9f8c-0000-4000-8000-000000000003","untilMs":9e15,"question":{"webhookId":1}}',
    ]) {
      await other.query("select pg_logical_emit_message(true, 'walhook', $1)", [message]);
    }
    await other.query("select pg_logical_emit_message(true, 'walhook', decode(repeat('00', 1000), 'hex'))");
    await system.caughtUp();
    expect((await rows("select fires from walhook.preview('plain', '1')"))[0]).toEqual({ fires: true });
    expect(system.receiver.requests.length).toBe(before);
  });
});
