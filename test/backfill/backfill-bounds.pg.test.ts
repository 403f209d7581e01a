import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("backfill_bounds");
});
afterEach(() => system.drop());

const MIB = 1024 * 1024;
/** What the bridge reads of a backfill at a time: first elements, and bytes. */
async function read(
  id: number,
  what: string,
  input: object,
): Promise<{ heads: string[]; bytes: number; last: string[] }> {
  const bridge = await system.db.connect(system.roles.bridge);
  const { rows: tokens } = await bridge.query("select token from walhook.backfill_token where backfill_id = $1", [id]);
  const { rows } = await bridge.query<{ r: string[] }>("select r from walhook.read_backfill($1, $2, $3) r", [
    id,
    what,
    JSON.stringify({ most: 16 * MIB, ...tokens[0], ...input }),
  ]);
  const texts = rows.map(({ r }) => r);
  const bytes = texts.flat().reduce((sum, text) => sum + Buffer.byteLength(text ?? ""), 0);
  return { heads: texts.map(([head]) => head ?? "null"), bytes, last: texts.at(-1)! };
}
const done = () =>
  eventually(
    async () => (await system.look("select from walhook.backfill_progress where state <> 'done'")).length === 0,
  );

describe("what a backfill reads at a time", () => {
  it("is 500 rows, or 4 MiB and a row, or what a second gives; at least one row", async () => {
    await system.app(
      `create table orders (id int primary key, v text); insert into orders select n, 'x' from generate_series(1, 700) n;
       create table large (id int primary key, v text); alter table large alter v set storage external;
       insert into large select n, repeat('x', 1500000) from generate_series(1, 10) n;
       create table huge (id int primary key, v text); insert into huge select n, repeat('x', 9000000) from generate_series(1, 2) n;`,
    );
    for (const table of ["orders", "large", "huge"]) await system.webhook(table, table, "after_insert");
    await system.admin(
      "select walhook.backfill('orders'), walhook.backfill('large'), walhook.backfill('huge'), walhook.backfill('orders', 'pg_sleep(0.4) is null')",
    );
    const orders = await read(1, "rows", { until: ["700"] });
    expect([orders.heads.length, orders.heads[0], orders.last]).toEqual([502, "table", ["at", "500"]]);
    const rest = await read(1, "rows", { after: ["500"], until: ["650"] });
    expect([rest.heads.length, rest.last]).toEqual([152, ["end"]]);
    const large = await read(2, "rows", { until: ["10"] });
    expect(large.last).toEqual(["at", "3"]);
    expect(large.bytes).toBeLessThan(5 * MIB);
    expect((await read(3, "rows", { until: ["2"] })).last).toEqual(["at", "1"]);
    const slow = await read(4, "rows", { until: ["700"] });
    expect(slow.heads).toEqual(["table", "at"]);
    expect(Number(slow.last[1])).toBeLessThanOrEqual(4);
  });

  it("comes by the key's index, in its order, and nothing is sorted: whatever the condition, the key or the partitions are", async () => {
    await system.app(
      `create table orders (id int primary key, v int); insert into orders select n, n from generate_series(1, 5000) n;
       create index on orders (v);
       create table pairs (a text, b numeric(9, 2), v int, primary key (b, a)); insert into pairs select n % 7, n, n from generate_series(1, 5000) n;
       create table parts (id int, day int, v int, primary key (id, day)) partition by list (day);
       create table parts_1 partition of parts for values in (1); create table parts_2 partition of parts for values in (2);
       insert into parts select n, 1 + n % 2, n from generate_series(1, 5000) n`,
    );
    await system.db.query("vacuum analyze");
    const planOf = async (table: string, condition: string | null, input: object): Promise<string> => {
      const [row] = await system.look(
        "select q.scan from walhook.backfill_queries($1::regclass, walhook.backfill_key($1::regclass), $2, $3) q",
        [table, condition, JSON.stringify(input)],
      );
      const client = await system.db.connect();
      await client.query("set enable_sort = off; set enable_incremental_sort = off");
      const { rows } = await client.query<Record<string, string>>(`explain (costs off) ${String(row!["scan"])}`);
      return rows.map((line) => line["QUERY PLAN"]).join("\n");
    };
    const cases: [string, string | null, object][] = [
      ["orders", null, { until: ["5000"] }],
      ["orders", null, { after: ["70"], until: ["5000"] }],
      ["orders", "doc.v < 10", { after: ["70"], until: ["5000"] }],
      ["orders", "exists (select from pairs p where p.v = doc.v)", { from: ["70"], until: ["5000"] }],
      ["pairs", "doc.v % 2 = 0", { after: ["70.00", "3"], until: ["5000.00", "2"] }],
      ["parts", "doc.v < 10", { after: ["70", "1"], until: ["5000", "1"] }],
    ];
    for (const [table, condition, input] of cases) {
      const plan = await planOf(table, condition, input);
      expect(plan, plan).toMatch(/Index (Only )?Scan using \w+_pkey/);
      expect(plan, plan).toMatch(/Index Cond: /);
      expect(plan, plan).not.toMatch(/Sort\n|Seq Scan on (orders|parts)|Bitmap/);
    }
  });
});

describe("a row that is larger than the bridge takes", () => {
  it("is sent as a live one is: without its longest values, which are named", async () => {
    await system.app("create table orders (id int primary key, small text, a text, b bytea, c text)");
    const fields = ["small", "c"].map((name) => ({ name, in: "webhook_data" }));
    await system.webhook("whole", "orders", "after_insert");
    await system.webhook("fields", "orders", "after_insert");
    for (const { name } of fields) {
      await system.admin("insert into walhook.webhook_data (webhook, fieldname, key) values ('fields', $1, $1)", [
        name,
      ]);
    }
    await system.webhook("asked", "orders", "after_insert", { condition: "doc.a <> ''" });
    await system.startBridge({ maxRowBytes: 50_000 });
    await system.app(
      "insert into orders values (1, 's', repeat('a', 30000), decode(repeat('00', 14000), 'hex'), repeat('c', 1000)), (2, 's', 'a', '\\x00', 'c')",
    );
    await system.settled();
    const names = ["whole", "fields", "asked"];
    for (const name of names) await system.admin("select walhook.backfill($1)", [name]);
    await done();
    await system.settled();
    const outcomes = async (source: string) =>
      system.look(
        "select webhook, docname, outcome, error from walhook.webhook_request_log where source = $1 order by 1, 2",
        [source],
      );
    const live = await outcomes("live");
    expect(await outcomes("backfill")).toEqual(live);
    expect(live.map(({ outcome }) => outcome)).toContain("undecidable");
    const bodies = (name: string) =>
      system.received(name).map(({ body }) => {
        const { data } = JSON.parse(body.toString()) as { data: Record<string, unknown> };
        return JSON.stringify({ ...data, event: null, lsn: null, xid: null, commit_time: null, id: null });
      });
    for (const name of names) {
      const all = bodies(name);
      const half = all.length / 2;
      expect(all.slice(half).toSorted(), name).toEqual(all.slice(0, half).toSorted());
    }
  });
});
