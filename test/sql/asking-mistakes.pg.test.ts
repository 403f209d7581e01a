import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { said } from "./said.ts";
import { watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("asking_mistakes");
  await watched.app.query(`
    create domain whole as int not null;
    create table orders (id int primary key, status text, total numeric, pieces whole);
    create table rates (country text, day date, primary key (country, day));
    create table events (n int);
    create table gone (id int primary key);
    insert into orders values (1, 'Paid', 0, 1)`);
  for (const name of ["orders", "rates", "events", "gone"]) await watched.webhook(name, name, "after_insert");
  await watched.app.query("drop table gone");
});
afterAll(() => watched.drop());

const INTEGER = "HINT: Its key is id (integer): the name is its value as text.";
const TABLE_GONE = [
  'webhook "gone": its table gone does not exist any more',
  "HINT: Set webhook_doctype to another table, or delete the webhook: delete from walhook.webhook where name = 'gone';",
];
const NO_BRIDGE = [
  "no bridge is at work",
  "DETAIL: Its state is new.",
  "HINT: Start it: walhook run. Without one, `walhook preview` on the command line shows the same.",
];

const WRONG_WAY = [
  "since (2026-01-02 00:00:00+00) is after until (2026-01-01 00:00:00+00)",
  "HINT: The other way round: since => '2026-01-01 00:00:00+00', until => '2026-01-02 00:00:00+00'",
];

const MISTAKES: readonly (readonly [sql: string, ...words: string[]])[] = [
  [
    "set local timezone = 'UTC'; select * from walhook.replay('orders', since => '2026-01-02', until => '2026-01-01')",
    ...WRONG_WAY,
  ],
  ["set local timezone = 'UTC'; select * from walhook.webhook_hours('2026-01-02', '2026-01-01')", ...WRONG_WAY],
  [
    "set local timezone = 'UTC'; select * from walhook.webhook_hours('2026-01-02', '2026-01-01', 'orders')",
    ...WRONG_WAY,
  ],
  [
    "select * from walhook.preview('orders', 'abc')",
    "'abc' is no name of a document of orders",
    'DETAIL: invalid input syntax for type integer: "abc"',
    INTEGER,
  ],
  [
    "select walhook.send_test('orders', '')",
    "'' is no name of a document of orders",
    'DETAIL: invalid input syntax for type integer: ""',
    INTEGER,
  ],
  [
    `select * from walhook.preview('rates', '["AT","2026-13-01"]')`,
    `'["AT","2026-13-01"]' is no name of a document of rates`,
    'DETAIL: date/time field value out of range: "2026-13-01"',
    `HINT: Its key is (country, day): the name is a JSON array of their texts, for example '["DE","2026-01-31"]'.`,
  ],
  [
    "select * from walhook.preview('orders', condition => 'where doc.total > 1')",
    'condition: syntax error at or near "where"',
    "DETAIL: The condition is: where doc.total > 1",
    'HINT: Leave out "where": the condition is what would stand behind it.',
  ],
  [
    "select * from walhook.preview('orders', condition => 'old.total > 1')",
    'condition: missing FROM-clause entry for table "old"',
    "DETAIL: The condition is: old.total > 1",
    `HINT: Rows are chosen as they are now, by doc alone; old => '{"status": "Draft"}' says what was before.`,
  ],
  [
    "select * from walhook.preview('orders', condition => '1 / doc.total > 1')",
    "condition: division by zero",
    "DETAIL: The condition is: 1 / doc.total > 1",
    "HINT: It fails for a row: have it take values like that one's as well, for example by case, nullif or coalesce.",
  ],
  [
    "select * from walhook.preview('orders', condition => ' ')",
    "the condition is empty",
    "HINT: Leave it out for the newest row; true means any.",
  ],
  [
    "select * from walhook.preview('orders', max_rows => 0)",
    "max_rows is 0",
    "HINT: How many documents at most, for example 10.",
  ],
  [
    `select * from walhook.preview('orders', old => '{"total": "much"}')`,
    'old: invalid input syntax for type numeric: "much"',
    'HINT: Columns and what they were before, as JSON has them: {"status": "Draft"}.',
  ],
  [
    `select * from walhook.preview('orders', old => '["Draft"]')`,
    "old is no object",
    'HINT: Columns and what they were before: {"status": "Draft"}.',
  ],
  [
    "select * from walhook.preview('orders', wait => '-1 s')",
    "wait is -00:00:01",
    "HINT: How long the bridge may take, up to 1 h: wait => '10 s'.",
  ],
  ["select * from walhook.preview('orders', old => '{\"total\": 1}', wait => null, max_rows => null)", ...NO_BRIDGE],
  [
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url) values ('new', 'orders', 'after_insert', 'https://example.com/');
     select * from walhook.preview('new')`,
    'webhook "new" is not committed yet',
    "HINT: The bridge answers, and sees what is committed: commit, then ask.",
  ],
  ["select * from walhook.preview('gone')", ...TABLE_GONE],
  ["select walhook.send_test('gone')", ...TABLE_GONE],
  ["select walhook.backfill('gone')", ...TABLE_GONE],
  ["select walhook.backfill('orders', '')", "the condition is empty", "HINT: Leave it out to send all rows."],
  [
    "select walhook.backfill('orders', 'old.total > 1')",
    'webhook "orders": condition: missing FROM-clause entry for table "old"',
    "DETAIL: The condition is: old.total > 1",
    "HINT: A backfill has no old: it sends rows as they are now. Write doc.… instead of old.…",
  ],
  [
    "select walhook.backfill('orders', 'doc.status = Paid')",
    'webhook "orders": condition: column "paid" does not exist',
    "DETAIL: The condition is: doc.status = Paid",
    "HINT: A text stands in single quotes: 'Paid'. Double quotes, or none, make it a column.",
  ],
  [
    "select walhook.backfill('orders', 'doc.total')",
    'webhook "orders": condition: it must be type boolean, not type numeric',
    "DETAIL: The condition is: doc.total",
    "HINT: It is a boolean SQL expression over doc, for example: doc.status = 'Paid'. Columns: id, status, total, pieces.",
  ],
  [
    "select walhook.backfill('events', 'doc.n > 1')",
    "public.events has no primary key",
    "DETAIL: A backfill reads its rows in the order of their key.",
  ],
];

describe("a mistake in what is asked for is told in words:", () => {
  it.each(MISTAKES.map(([sql, ...words]) => [sql, words] as const))("%s", async (sql, words) => {
    expect(await said(watched.admin, sql)).toEqual(words);
  });

  it("and without the query that was made of it", async () => {
    for (const sql of [MISTAKES[0]![0], MISTAKES[3]![0], MISTAKES[18]![0]]) {
      const error: unknown = await watched.admin.query(sql).catch((reason: unknown) => reason);
      expect(error).not.toHaveProperty("internalQuery", expect.anything());
      expect((error as { where: string }).where.length).toBeLessThan(1000);
    }
  });
});

describe("a preview in the transaction that changes its webhook", () => {
  it("says that it shows the webhook as it was", async () => {
    const heard: string[] = [];
    watched.admin.on("notice", ({ message }) => heard.push(message ?? ""));
    await said(
      watched.admin,
      "update walhook.webhook set request_method = 'PUT' where name = 'orders'; select * from walhook.preview('orders')",
    );
    expect(heard).toEqual(['webhook "orders" was changed in this transaction: this shows it as it was before']);
  });
});

describe("walhook.backfill_progress", () => {
  it("says that a backfill whose table is gone is to be cancelled, and one whose webhook is gone as well is", async () => {
    await watched.app.query("create table passing (id int primary key)");
    await watched.webhook("passing", "passing", "after_insert");
    await watched.admin.query("select walhook.backfill('passing')");
    const [request] = (await watched.rows("select id::int from walhook.backfill_request")) as { id: number }[];
    await watched.db.query(
      "insert into walhook.backfill_state (backfill_id, state, error) values ($1, 'failed', 'the table is gone')",
      [request!.id],
    );
    const progress = () => watched.rows("select state, waits_for from walhook.backfill_progress");
    const resume = "you: mend what error says, then select walhook.resume_backfill";
    expect(await progress()).toEqual([{ state: "failed", waits_for: `${resume}(${request!.id})` }]);
    await watched.app.query("drop table passing");
    expect(await progress()).toEqual([
      {
        state: "failed",
        waits_for: `you: its table does not exist any more, so select walhook.cancel_backfill(${request!.id})`,
      },
    ]);
    await watched.admin.query("delete from walhook.webhook where name = 'passing'");
    expect(await progress()).toEqual([{ state: "cancelled", waits_for: null }]);
  });
});
