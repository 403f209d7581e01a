import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("log");
});
afterAll(() => watched.drop());

const asBridge = async (sql: string): Promise<unknown> =>
  ((await watched.db.queryAs(watched.roles.bridge, sql)).rows[0] as { said: unknown }).said;

const insert = (when: string): string =>
  `insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docevent, source, outcome)
   values (${when}, 'msg_' || gen_random_uuid(), 1, 1, 'w', 'orders', 'after_insert', 'live', 'delivered')`;

async function partitions(): Promise<readonly unknown[]> {
  const rows = await watched.rows(
    "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'walhook.webhook_request_log'::regclass order by 1",
  );
  return rows.map((row) => row["name"]);
}

/** A partition of long ago, as if it had been made in its time. */
async function oldPartition(day: string): Promise<void> {
  const name = `walhook.webhook_request_log_${day.replaceAll("-", "")}`;
  await watched.db.query(`set timezone = 'UTC'; create table ${name} partition of walhook.webhook_request_log
    for values from ('${day}') to ('${day}'::timestamptz + interval '1 day'); alter table ${name} owner to walhook_owner`);
}

describe("the log", () => {
  it("has a partition for today and seven days ahead, and the bridge makes further ones", async () => {
    expect(await partitions()).toHaveLength(9);
    expect(await asBridge("select walhook.add_log_partitions(9) as said")).toBe("added 2");
    expect(await asBridge("select walhook.add_log_partitions(9) as said")).toBe("added 0");
    expect(await partitions()).toHaveLength(11);
  });

  it("takes a row of a day without partition, whose partition then has to wait", async () => {
    await watched.db.queryAs(watched.roles.bridge, insert("now() + interval '10 days'"));
    expect(await asBridge("select walhook.add_log_partitions(11) as said")).toMatch(
      /^added 1; the default partition holds/,
    );
  });

  it("drops partitions past their time, and old rows of the default partition", async () => {
    await oldPartition("2020-01-01");
    await watched.db.queryAs(watched.roles.bridge, insert("'2019-01-01'"));
    await watched.db.queryAs(watched.roles.bridge, insert("'2020-01-01 12:00Z'"));
    expect(await asBridge("select walhook.drop_log_partitions('30 days') as said")).toBe(
      "dropped 1; deleted 1 rows of the default partition",
    );
    expect(
      await watched.rows("select count(*)::int as rows from walhook.webhook_request_log where sent_at < now()"),
    ).toEqual([{ rows: 0 }]);
  });

  it("drops the oldest first where it is too large, never today's", async () => {
    const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
    await oldPartition(yesterday);
    const before = (await partitions()).length;
    expect(await asBridge("select walhook.drop_log_partitions('30 days', 1) as said")).toMatch(/^dropped 1;/);
    expect(await partitions()).toHaveLength(before - 1);
  });

  it("never makes an INSERT wait behind an analyst who leaves a transaction open", async () => {
    await oldPartition("2020-01-02");
    const analyst = await watched.db.connect();
    await analyst.query("begin; select count(*) from walhook.webhook_request_log");
    const bridge = await watched.db.connect(watched.roles.bridge);
    const started = Date.now();
    const maintenance = [
      asBridge("select walhook.drop_log_partitions('30 days') as said"),
      asBridge("select walhook.add_log_partitions(20) as said"),
    ];
    let slowest = 0;
    while (Date.now() - started < 500) {
      const at = Date.now();
      await bridge.query(insert("now()"));
      slowest = Math.max(slowest, Date.now() - at);
    }
    const said = await Promise.all(maintenance);
    await analyst.query("rollback");
    expect(said[0]).toContain("in use, the next round tries again");
    expect(said[1]).toContain("the next round tries again");
    // 100 ms, and what a loaded machine adds; behind the analyst it would be for ever.
    expect(slowest).toBeLessThan(2_000);
    expect(await asBridge("select walhook.drop_log_partitions('30 days') as said")).toBe("dropped 1");
  });
});
