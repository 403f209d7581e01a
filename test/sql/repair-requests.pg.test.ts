import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { said } from "./said.ts";
import { watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("repair_requests");
  await watched.app.query(`
    create table orders (id int primary key);
    create table rates (country text, day date, primary key (country, day));
    create table events (n int);
    create table gone (id int primary key)`);
  for (const name of ["orders", "rates", "events", "gone"]) await watched.webhook(name, name, "after_insert");
  for (const [n, webhook, docname, holds] of [
    [1, "rates", '["AT","2026-05-05"]', false],
    [2, "orders", "7", true],
    [3, "gone", "former key", false],
  ] as const) {
    await watched.db.query(
      `insert into walhook.webhook_queue (delivery_id, webhook_id, webhook, kind, doctype, docname, docevent, source, commit_lsn, change_lsn,
         change_index, event_number, xid, commit_time, is_dead, holds_lane, change)
       select 'msg_' || $1::int, id, name, 'request', doctype, $3, 'after_insert', 'live', '0/1', '0/1', 0, 0, 1, now(), true, $4, '{}'
         from walhook.webhook where name = $2`,
      [n, webhook, docname, holds],
    );
  }
  await watched.db.query(
    `insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome,
       url, request_headers, request_body, body_kept)
     select now(), v.delivery, 1, id, name, doctype, v.docname, 'after_insert', 'live', v.outcome, 'https://example.com/', '{}', '{}', 'whole'
       from walhook.webhook, (values ('msg_2', '7', 'dead'), ('msg_4', '8', 'delivered')) v (delivery, docname, outcome) where name = 'orders'`,
  );
  await watched.app.query("drop table gone");
});
afterAll(() => watched.drop());
beforeEach(() => watched.db.query("delete from walhook.repair"));

const asked = (): Promise<readonly Record<string, unknown>[]> =>
  watched.rows("select kind, docname from walhook.repair order by id");

describe("dry_run => NULL", () => {
  it("does nothing, as true: somebody's variable is empty", async () => {
    const { rows } = await watched.admin.query(
      "select deliveries::int, replay_id from walhook.replay('orders', docname => '8', dry_run => null)",
    );
    expect(rows).toEqual([{ deliveries: 1, replay_id: null }]);
    await watched.admin.query("select walhook.cancel('orders', dry_run => null)");
    expect(await asked()).toEqual([]);
  });
});

describe("the name of a document", () => {
  it.each([
    ["replay_dead_letters", "replay"],
    ["cancel_dead_letters", "cancel"],
    ["cancel", "cancel_waiting"],
  ])("of walhook.%s means the same however it is spelt", async (name, kind) => {
    const { rows } = await watched.admin.query(`select walhook.${name}('rates', '["AT", "2026-5-5"]')::int as n`);
    expect(rows).toEqual([{ n: 1 }]);
    expect(await asked()).toEqual([{ kind, docname: '["AT","2026-05-05"]' }]);
  });

  it("of walhook.replay as well", async () => {
    const { rows } = await watched.admin.query(
      "select replayable::int from walhook.replay('orders', docname => '008', dry_run => false)",
    );
    expect(rows).toEqual([{ replayable: 1 }]);
    expect(await asked()).toEqual([{ kind: "replay_log", docname: "8" }]);
  });

  it.each(["replay_dead_letters(", "cancel_dead_letters(", "cancel(", "replay(docname => 'abc', webhook => "])(
    "that none can have is a mistake, not nothing: %s",
    async (call) => {
      const sql = call.includes("=>")
        ? `select * from walhook.${call}'orders')`
        : `select walhook.${call}'orders', 'abc')`;
      expect(await said(watched.admin, sql)).toEqual([
        "'abc' is no name of a document of orders",
        'DETAIL: invalid input syntax for type integer: "abc"',
        "HINT: Its key is id (integer): the name is its value as text.",
      ]);
    },
  );

  it("is taken as it is where the table has no key, or is gone", async () => {
    await watched.admin.query(
      "select walhook.cancel('events', 'x'), walhook.cancel_dead_letters('gone', 'former key')",
    );
    expect(await asked()).toEqual([
      { kind: "cancel_waiting", docname: "x" },
      { kind: "cancel", docname: "former key" },
    ]);
  });
});

describe("walhook.replay", () => {
  it("counts a dead letter that holds its document as not to be replayed, and says what sends it", async () => {
    const { rows } = await watched.admin.query(
      "select replayable::int, not_replayable::int, reasons from walhook.replay('orders', since => '-infinity')",
    );
    expect(rows).toEqual([
      {
        replayable: 1,
        not_replayable: 1,
        reasons: { "as a dead letter it holds its document: walhook.replay_dead_letters sends it again": 1 },
      },
    ]);
  });

  it("says of a webhook whose table was dropped what to do with it", async () => {
    const sql = "select walhook.replay('gone', since => '-infinity')";
    expect(await said(watched.admin, sql)).toEqual([
      'webhook "gone": its table gone does not exist any more',
      "HINT: Set webhook_doctype to another table, or delete the webhook: delete from walhook.webhook where name = 'gone';",
    ]);
    await watched.app.query("create table gone (id int primary key)");
    expect((await said(watched.admin, sql))[1]).toBe(
      "HINT: A table of that name exists again: update walhook.webhook set webhook_doctype = 'public.gone' where name = 'gone';",
    );
    await watched.app.query("drop table gone");
  });
});
