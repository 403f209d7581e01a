import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { said } from "../sql/said.ts";
import type pg from "pg";

let system: System;
let admin: pg.Client;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

beforeAll(async () => {
  system = await startSystem("asking");
  admin = await system.db.connect(system.roles.admin);
  await system.app(`
    create table orders (id int primary key, status text, total numeric);
    create table invoices (id int primary key, docstatus int);
    create table keyless (note text);
    create table wide (id int primary key, doc text, former int, text int);
    insert into orders values (1, 'Draft', 5), (2, 'Paid', 50), (3, 'Paid', null);
    insert into invoices values (1, 1);
    insert into keyless values ('a'), ('b');
    insert into wide values (1, 'x', 2, 3)`);
  await system.webhook("plain", "orders", "on_update, after_insert");
  await system.webhook("paid", "orders", "on_update", {
    condition: "doc.status = 'Paid' and old.status is distinct from doc.status and doc.total > 10",
  });
  await system.webhook("signed", "orders", "after_insert", { enable_security: true, webhook_secret: SECRET });
  await system.webhook("submit", "invoices", "on_submit, on_cancel");
  await system.webhook("keyless", "keyless", "after_insert");
  await system.webhook("wide", "wide", "after_insert", { condition: "doc.text = 3" });
  await system.startBridge();
});
afterAll(() => system.drop());

const refusal = (sql: string): Promise<readonly string[]> => said(admin, sql);
const rows = async (sql: string): Promise<readonly Record<string, unknown>[]> =>
  (await admin.query(sql)).rows as Record<string, unknown>[];

describe("walhook.preview", () => {
  it("takes the first event and the newest document where nothing else is said", async () => {
    expect(
      await rows(
        "select docname, event, fires, condition_holds, reason, method, signature from walhook.preview('plain')",
      ),
    ).toEqual([
      {
        docname: "3",
        event: "on_update",
        fires: true,
        condition_holds: null,
        reason: null,
        method: "POST",
        signature: null,
      },
    ]);
  });

  it("says of each document whether the condition holds, by the row before as well", async () => {
    const sql = `select docname, fires, condition_holds, reason from walhook.preview('paid', condition => 'true', old => '{"status": "Draft"}')`;
    expect(await rows(sql)).toEqual([
      { docname: "1", fires: false, condition_holds: false, reason: "its condition is FALSE for this row" },
      { docname: "2", fires: true, condition_holds: true, reason: null },
      { docname: "3", fires: false, condition_holds: false, reason: expect.stringMatching(/^its condition is NULL/) },
    ]);
    expect(await rows("select fires from walhook.preview('paid', '2')")).toEqual([{ fires: false }]);
    expect(
      await rows("select docname from walhook.preview('paid', condition => $$status = 'Paid' and doc.total is null$$)"),
    ).toEqual([{ docname: "3" }]);
    expect(await rows("select docname from walhook.preview('paid', condition => 'true', max_rows => 2)")).toHaveLength(
      2,
    );
    expect(await rows("select docname from walhook.preview('paid', condition => 'false')")).toEqual([]);
  });

  it("says what keeps an event from being sent", async () => {
    const reasons = async (args: string): Promise<unknown> =>
      (await rows(`select fires, reason from walhook.preview(${args})`))[0];
    expect(await reasons("'paid', '2', 'after_insert'")).toEqual({
      fires: false,
      reason: "the webhook does not watch for after_insert",
    });
    expect(await reasons("'submit', '1', 'on_cancel'")).toMatchObject({
      reason: "such a change of this row is no on_cancel",
    });
    expect(await reasons("'submit', '1', 'on_submit'")).toEqual({ fires: true, reason: null });
    await system.admin("update walhook.webhook set enabled = false where name = 'plain'");
    expect(await reasons("'plain', '1'")).toEqual({ fires: false, reason: "the webhook is disabled" });
    await system.admin("update walhook.webhook set enabled = true where name = 'plain'");
    await system.admin("select walhook.pause('plain', 'moving house')");
    expect(await reasons("'plain', '1'")).toEqual({
      fires: false,
      reason:
        "the webhook is paused (moving house): what it would send waits in the queue until walhook.resume('plain')",
    });
    await system.admin("select walhook.resume('plain')");
    await system.db.query(`insert into walhook.webhook_state (webhook_id, name, breaker, breaker_until)
      select id, name, 'open', '2030-01-01 00:00+00' from walhook.webhook where name = 'plain'
      on conflict (webhook_id) do update set breaker = excluded.breaker, breaker_until = excluded.breaker_until`);
    expect(await reasons("'plain', '1'")).toEqual({
      fires: false,
      reason: expect.stringMatching(/^its breaker is open until 2030-01-01 .*what it would send waits in the queue$/),
    });
    await system.db.query("update walhook.webhook_state set breaker = 'closed'");
    expect(await reasons("'plain', '1'")).toEqual({ fires: true, reason: null });
    await system.webhook("broken", "orders", "after_insert", { webhook_json: `{"status": {{doc.status}}}` });
    expect(await reasons("'broken', '1'")).toMatchObject({
      fires: false,
      reason: expect.stringContaining("webhook_json: the rendered text is not JSON"),
    });
    await system.webhook("division", "orders", "after_insert", { condition: "1 / (doc.id - 1) > 0" });
    expect(await reasons("'division', '1'")).toMatchObject({
      fires: false,
      reason: expect.stringContaining("division by zero"),
    });
    await system.webhook("slow", "orders", "after_insert", { condition: "doc.id > 0 and pg_sleep(5) is not null" });
    expect(await reasons("'slow', '1'")).toMatchObject({
      fires: false,
      reason: "the condition did not answer in time",
    });
    await system.webhook("unread", "orders", "after_insert", {
      enable_security: true,
      webhook_secret: "env:WALHOOK_SECRET_NOT_THERE",
    });
    expect(await reasons("'unread', '1'")).toMatchObject({
      fires: false,
      reason: expect.stringContaining("is not set in the environment"),
    });
  });

  it("sees the configuration and the rows that are there, also those of its own transaction", async () => {
    await system.admin("update walhook.webhook set request_url = 'https://example.com/changed' where name = 'plain'");
    expect(await rows("select url from walhook.preview('plain', '1')")).toEqual([
      { url: "https://example.com/changed" },
    ]);
    const app = await system.db.connect(system.roles.app);
    await system.db.query(`grant walhook_admin to "${system.roles.app}"`);
    await app.query("begin; insert into orders values (9, 'New', 1)");
    const { rows: found } = await app.query("select docname from walhook.preview('plain', '9')");
    expect(found).toEqual([{ docname: "9" }]);
    await app.query("rollback");
    await system.db.query(`revoke walhook_admin from "${system.roles.app}"`);
  });

  it("takes columns by any name", async () => {
    expect(
      await rows(
        "select fires, body::json #>> '{data,doc}' as doc from walhook.preview('wide', '1', old => '{\"doc\": \"y\"}')",
      ),
    ).toEqual([{ fires: true, doc: '{"id":1,"doc":"x","former":2,"text":3}' }]);
  });

  it("signs for the id and the moment that are given, and shows no secret", async () => {
    const [first] = await rows(
      "select id, signature, headers, sent_at from walhook.preview('signed', '1', id => 'msg_1', sent_at => '2026-01-01Z', commit_time => '2026-01-01Z', lsn => '0/1', xid => 7)",
    );
    const [again] = await rows(
      "select id, signature, headers, sent_at from walhook.preview('signed', '1', id => 'msg_1', sent_at => '2026-01-01Z', commit_time => '2026-01-01Z', lsn => '0/1', xid => 7)",
    );
    expect(again).toEqual(first);
    expect(first).toMatchObject({ id: "msg_1", headers: { "webhook-id": "msg_1", "webhook-timestamp": "1767225600" } });
    expect(first!["signature"]).toMatch(/^v1,/);
    expect(JSON.stringify(first)).not.toContain(SECRET.slice(6));
  });

  it("refuses in words what cannot be asked", async () => {
    expect(await refusal("select walhook.preview('nobody')")).toEqual([
      'there is no webhook "nobody"',
      "HINT: Names stand in walhook.webhook.",
    ]);
    expect(await refusal("select walhook.preview('plain', '77')")).toEqual([
      "public.orders has no document '77'",
      "DETAIL: Only rows that exist now can be asked about.",
      "HINT: A name is the value of the primary key. Without one, walhook.preview takes a row that there is.",
    ]);
    expect((await refusal("select walhook.preview('plain', 'x')"))[0]).toBe("'x' is no name of a document of orders");
    expect((await refusal("select walhook.preview('keyless', 'x')"))[0]).toContain("has no primary key");
    expect((await refusal("select walhook.preview('plain', event => 'insert')"))[1]).toContain(
      "Did you mean after_insert?",
    );
    expect((await refusal(`select walhook.preview('plain', old => '{"staus": 1}')`))[0]).toContain(
      'has no column "staus"',
    );
    expect((await refusal("select walhook.preview('plain', '1', condition => 'true')"))[0]).toContain("not both");
    await admin.query("begin isolation level repeatable read");
    await expect(admin.query("select walhook.preview('plain')")).rejects.toThrow(
      "never seen in a transaction that is REPEATABLE READ",
    );
    await admin.query("rollback");
  });

  it("leaves nothing behind", async () => {
    await system.look("delete from walhook.answer");
    await rows("select walhook.preview('plain', '1')");
    expect(await system.look("select from walhook.question union all select from walhook.answer")).toEqual([]);
  });
});

describe("a bridge that does not answer", () => {
  it("is told apart: none is at work, or it is busy", async () => {
    await using lonely = await startSystem("lonely");
    const asker = await lonely.db.connect(lonely.roles.admin);
    await lonely.app("create table orders (id int primary key); insert into orders values (1)");
    await lonely.webhook("w", "orders", "after_insert");
    const stopped = (await said(asker, "select walhook.preview('w')")) as string[];
    expect(stopped).toEqual([
      "no bridge is at work",
      "DETAIL: Its state is new.",
      "HINT: Start it: walhook run. Without one, `walhook preview` on the command line shows the same.",
    ]);
    const bridge = await lonely.startBridge();
    expect(await said(asker, "select walhook.preview('w')")).toEqual([]);
    // What waits for a lock of ours is answered late.
    const locker = await lonely.db.connect();
    await locker.query("begin; lock table walhook.webhook_data in access exclusive mode");
    const busy = await said(asker, "select walhook.preview('w', wait => '200 ms')");
    expect(busy[0]).toBe("the bridge is busy: it runs, and has not answered within 00:00:00.2");
    expect(busy[1]).toMatch(/^DETAIL: It has .* of the write-ahead log before it\.$/);
    await locker.query("rollback");
    await bridge.stop();
    expect((await said(asker, "select walhook.preview('w')")).slice(0, 2)).toEqual([
      "no bridge is at work",
      "DETAIL: Its state is stopped.",
    ]);
  });

  it("answers within a second on an idle server", async () => {
    const times: number[] = [];
    for (let n = 0; n < 10; n++) {
      const startedAt = performance.now();
      await rows("select from walhook.preview('plain', '1')");
      times.push(performance.now() - startedAt);
    }
    times.sort((a, b) => a - b);
    expect(times[5]).toBeLessThan(1000);
  });
});
