import { randomBytes } from "node:crypto";
import fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { shortName } from "../../src/events/short-name.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  db = await createDatabase("long_names");
  client = await db.connect();
  await migrate(client);
});
afterAll(() => db.drop());

const column = async (sql: string, values: unknown[] = []): Promise<unknown[]> =>
  (await client.query<{ it: unknown }>(sql, values)).rows.map(({ it: value }) => value);

/** A text of so many bytes of UTF-8 that nothing makes shorter: an index would keep it compressed. */
const incompressible = (bytes: number): string =>
  randomBytes(bytes)
    .toString("base64")
    .slice(0, bytes % 4)
    .concat(
      Array.from({ length: Math.floor(bytes / 4) }, () =>
        String.fromCodePoint(0x10000 + (randomBytes(3).readUIntBE(0, 3) % 0xfffff)),
      ).join(""),
    );

describe("walhook.short_name", () => {
  it("is what the bridge makes of a name, of whatever characters", async () => {
    const character = fc.oneof(
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }).filter((text) => text !== "\0"),
      fc.constantFrom("a", "é", "€", "😀", '"', "\\", "\n"),
    );
    const name = fc.tuple(character, fc.array(character, { maxLength: 5 }), fc.integer({ min: 100, max: 1000 }));
    const names = fc
      .sample(name, 400)
      .map(([first, others, times]) => first + [first, ...others].join("").repeat(times))
      .concat(...[0, 1, 2, 3, 4].map((more) => ["a", "é", "€", "😀"].map((text) => "x".repeat(1796 + more) + text)));
    expect(
      await column(
        "select walhook.short_name(n) as it from unnest($1::text[]) with ordinality as u (n, i) order by i",
        [names],
      ),
    ).toEqual(names.map(shortName));
    const isShort = (await column(
      "select walhook.is_short_name(n) as it from unnest($1::text[]) with ordinality as u (n, i) order by i",
      [[...names, ...names.map(shortName)]],
    )) as boolean[];
    expect(isShort).toEqual([...names.map(() => false), ...names.map((text) => shortName(text) !== text)]);
  });
});

describe("a long name that is looked for by walhook.short_name", () => {
  it("is found by an index", async () => {
    await client.query("set enable_seqscan = off");
    const { rows } = await client.query<{ "QUERY PLAN": string }>(
      "explain (costs off) select * from walhook.delivery where doctype = 'orders' and docname = walhook.short_name('x')",
    );
    await client.query("reset enable_seqscan");
    expect(rows.map((row) => row["QUERY PLAN"]).join("\n")).toMatch(/Index Cond: .*docname = walhook.short_name/);
  });
});

describe("the longest names there are", () => {
  const doctype = `${incompressible(63)}.${incompressible(63)}`;
  const longest = [incompressible(1800), ...[1801, 1803, 10_000].map((bytes) => shortName(incompressible(bytes)))];

  it("are of the length that the indexes were reckoned with", () => {
    expect(Buffer.byteLength(doctype)).toBe(127);
    expect(longest.map((name) => Buffer.byteLength(name))).toEqual([1800, 1871, 1873, 1874]);
  });

  it("fit into each index of a docname", async () => {
    const indexes = await column(
      `select distinct i.indrelid::regclass::text as it from pg_index i
         join pg_class c on c.oid = i.indrelid and not c.relispartition
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])
        where c.relnamespace = 'walhook'::regnamespace and a.attname in ('docname', 'old_docname') order by 1`,
    );
    expect(indexes).toEqual(["walhook.webhook_decision", "walhook.webhook_queue", "walhook.webhook_request_log"]);
    for (const [n, name] of longest.entries()) {
      await client.query(
        `insert into walhook.webhook_decision (webhook_id, webhook, doctype, docname, docevent, delivery_id, lsn, xid, commit_time, reason)
         values (1, 'w', $1, $2, 'on_update', 'msg', '0/1', 1, now(), '')`,
        [doctype, name],
      );
      for (const isDead of [true, false]) {
        await client.query(
          `insert into walhook.webhook_queue (delivery_id, webhook_id, webhook, kind, doctype, docname, old_docname, docevent, source,
             commit_lsn, change_lsn, change_index, event_number, xid, commit_time, is_dead)
           values ($1, 1, 'w', 'request', $2, $3, $4, 'on_update', 'live', 'F/F', 'F/F', 1, 1, 1, now(), $5)`,
          [`msg_${n}_${isDead}`, doctype, name, longest.at(-1), isDead],
        );
      }
      await client.query(
        `insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome)
         values (now(), $1, 1, 1, 'w', $2, $3, 'on_update', 'live', 'delivered')`,
        [`msg_${n}`, doctype, name],
      );
    }
    // The log once more without bodies, as it is when these are taken out: with the same indexes.
    await client.query(
      `create table walhook.thin (like walhook.webhook_request_log including indexes);
       insert into walhook.thin select l.* from walhook.webhook_request_log l; drop table walhook.thin`,
    );
  });

  it("would not, were they not bounded", async () => {
    await expect(
      client.query(
        `insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome)
         values (now(), 'whole', 1, 1, 'w', $1, $2, 'on_update', 'live', 'delivered')`,
        [doctype, incompressible(2700)],
      ),
    ).rejects.toMatchObject({ code: "54000" });
  });

  it("fit with room for an encoding that takes four bytes for what UTF-8 has in three", async () => {
    const { rowCount } = await client.query(
      `insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome)
       values (now(), 'wide', 1, 1, 'w', $1, $2, 'on_update', 'live', 'delivered')`,
      [doctype, incompressible((1800 * 4) / 3 + 74)],
    );
    expect(rowCount).toBe(1);
  });
});

describe("what an earlier version has put into the queue under a long name", () => {
  it("is under its short name after an upgrade, once", async () => {
    const names = ["42", "a".repeat(1800), "é".repeat(901), shortName("b".repeat(1900)), null];
    await client.query("truncate walhook.webhook_queue");
    await client.query(
      `insert into walhook.webhook_queue (delivery_id, webhook_id, webhook, kind, doctype, docname, old_docname, docevent, source,
         commit_lsn, change_lsn, change_index, event_number, xid, commit_time)
       select 'msg_' || i, 1, 'w', 'request', 'orders', n, n, 'on_update', 'live', '0/1', '0/1', i, 1, 1, now()
         from unnest($1::text[]) with ordinality as u (n, i)`,
      [names],
    );
    for (let time = 0; time < 2; time++) {
      await client.query("delete from walhook.migration where version = 201");
      expect(await migrate(client)).toEqual(["applied 201 long names"]);
      for (const name of ["docname", "old_docname"]) {
        expect(await column(`select ${name} as it from walhook.webhook_queue order by change_index`)).toEqual(
          names.map((text) => (text === null || text.includes("...sha256:") ? text : shortName(text))),
        );
      }
    }
  });
});
