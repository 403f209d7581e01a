import { randomBytes, randomInt } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { shortName } from "../../src/events/short-name.ts";
import { refusal } from "../sql/watched-database.ts";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

const hex = (bytes: number): string => `\\x${randomBytes(bytes).toString("hex")}`;
const digits = (count: number): string => `7${Array.from({ length: count - 1 }, () => randomInt(10)).join("")}`;
const wide = (count: number): string =>
  Array.from({ length: count }, () => String.fromCodePoint(0x1f300 + randomInt(0x2ff))).join("");

interface Table {
  readonly table: string;
  readonly columns: readonly string[];
  readonly types: readonly string[];
  /** The key's values of its row, and those that it gets later. */
  readonly keys: readonly [readonly string[], readonly string[]];
}
const TABLES: readonly Table[] = [
  { table: "blobs", columns: ["id"], types: ["bytea"], keys: [[hex(2048)], [hex(2048)]] },
  { table: "numbers", columns: ["id"], types: ["numeric"], keys: [[digits(2000)], [digits(2000)]] },
  { table: "wides", columns: ["id"], types: ["text"], keys: [[wide(660)], [wide(660)]] },
  // An index compresses what it holds.
  { table: "repeats", columns: ["id"], types: ["text"], keys: [["a".repeat(50_000)], ["a".repeat(50_001)]] },
  // As JSON one of these characters has six.
  {
    table: "pairs",
    columns: ["word", "part"],
    types: ["text", "bytea"],
    keys: [
      ["\u0001".repeat(900), hex(900)],
      ["\u0001".repeat(900), hex(900)],
    ],
  },
];
const nameOf = (key: readonly string[]): string => (key.length === 1 ? key[0]! : JSON.stringify(key));
const parameters = ({ types }: Table): string => types.map((type, n) => `$${n + 1}::${type}`).join(", ");

let system: System;
const states: string[] = [];
beforeAll(async () => {
  system = await startSystem("long_key");
  for (const { table, columns, types } of TABLES) {
    const key = columns.join(", ");
    await system.app(
      `create table ${table} (${columns.map((name, n) => `${name} ${types[n]}`).join(", ")}, n int, primary key (${key}))`,
    );
    await system.webhook(table, table, "after_insert, on_update, on_trash", { retry_schedule: "{100 ms, 1 h}" });
    await system.webhook(`${table}-never`, table, "after_insert", { condition: "doc.n < 0", log_decisions: true });
  }
  const bridge = await system.startBridge();
  bridge.activity.subscribe((activity) => {
    if (activity.kind === "state") states.push(activity.state);
  });
});
afterAll(() => system.drop());

/** Event, number, name and former name. */
function told({ body }: ReceivedRequest): readonly unknown[] {
  const { type, data } = JSON.parse(body.toString()) as {
    type: string;
    data: { name: string; old_name?: string; doc: { n: number } };
  };
  return [type.split(".").at(-1), data.doc.n, data.name, data.old_name];
}
const outcomes = (webhook: string, name: string) =>
  system.look(
    "select docevent, outcome from walhook.delivery where webhook = $1 and docname = walhook.short_name($2) order by lsn",
    [webhook, name],
  );
const answerAt = (path: string, status: () => number) =>
  system.receiver.answer((request) => ({ status: request.path === `/${path}` ? status() : 200 }));

describe.each(TABLES)("a document of $table, whose key is longer than an index takes", (of) => {
  const { table, columns, keys } = of;
  const [name, moved] = keys.map(nameOf) as [string, string];

  it("is sent in order, from the queue too, under its whole name, and logged", async () => {
    let attempts = 0;
    answerAt(table, () => (attempts++ === 0 ? 500 : 200));
    await system.app(`insert into ${table} values (${parameters(of)}, 1)`, keys[0]);
    await system.app(`update ${table} set n = 2`);
    await system.app(`update ${table} set (${columns.join(", ")}, n) = row(${parameters(of)}, 3)`, keys[1]);
    await system.app(`update ${table} set n = 4`);
    await system.app(`delete from ${table}`);
    await system.settled();
    expect(system.received(table).map(told)).toEqual([
      ["after_insert", 1, name, undefined],
      ["after_insert", 1, name, undefined],
      ["on_update", 2, name, undefined],
      ["on_update", 3, moved, name],
      ["on_update", 4, moved, undefined],
      ["on_trash", 4, moved, undefined],
    ]);
    expect(await outcomes(table, name)).toEqual([
      { docevent: "after_insert", outcome: "delivered" },
      { docevent: "on_update", outcome: "delivered" },
    ]);
    expect(await outcomes(table, moved)).toHaveLength(3);
    expect(
      await system.look("select distinct docname from walhook.webhook_decision where doctype = $1", [table]),
    ).toEqual(expect.arrayContaining([{ docname: shortName(name) }]));
  });

  it("is known to walhook.why by its whole name, and by the one that the log has", async () => {
    for (const asked of [moved, shortName(moved)]) {
      const rows = await system.admin(
        "select docevent, verdict from walhook.why($1, $2, webhook => $3) where verdict <> 'now'",
        [table, asked, table],
      );
      expect(rows).toEqual([
        { docevent: "on_trash", verdict: "sent" },
        { docevent: "on_update", verdict: "sent" },
        { docevent: "on_update", verdict: "sent" },
      ]);
    }
    const other = shortName(`${name}7`);
    const [row] = await system.admin("select verdict, reason from walhook.why($1, $2)", [table, other]);
    expect(row).toMatchObject({
      verdict: "unknown",
      reason: expect.stringMatching(/^nothing is known of a document .* in \w+; key columns: /s),
    });
  });

  it("is sent again by walhook.replay, by either", async () => {
    for (const asked of [name, shortName(name)]) {
      const before = system.received(table).length;
      const [replay] = await system.admin(
        "select replay_id as id from walhook.replay($1, docname => $2, dry_run => false)",
        [table, asked],
      );
      await eventually(
        async () =>
          (
            await system.look("select from walhook.replay_state where replay_id = $1 and state = 'done'", [
              replay!["id"],
            ])
          ).length === 1,
      );
      await system.settled();
      expect(system.received(table).slice(before).map(told)).toEqual([
        ["after_insert", 1, name, undefined],
        ["on_update", 2, name, undefined],
      ]);
    }
  });

  it("is a dead letter that is replayed and cancelled by either", async () => {
    const webhook = `${table}-dead`;
    await system.webhook(webhook, table, "after_insert", { retry_schedule: "{}" });
    answerAt(webhook, () => 400);
    const isDead = (attempts: number) =>
      eventually(
        async () =>
          system.received(webhook).length === attempts &&
          (await system.look("select from walhook.dead_letter where webhook = $1", [webhook])).length === 1,
      );
    await system.app(`insert into ${table} values (${parameters(of)}, 5)`, keys[0]);
    await isDead(1);
    for (const [n, asked] of [name, shortName(name)].entries()) {
      expect(
        await system.admin("select walhook.replay_dead_letters($1, docname => $2) as n", [webhook, asked]),
      ).toEqual([{ n: "1" }]);
      await isDead(n + 2);
    }
    expect(await system.admin("select walhook.cancel_dead_letters($1, docname => $2) as n", [webhook, name])).toEqual([
      { n: "1" },
    ]);
    await system.caughtUp();
    expect(await outcomes(webhook, name)).toEqual([{ docevent: "after_insert", outcome: "cancelled" }]);
  });

  it("is previewed by its whole name; by the other nobody can tell its row", async () => {
    expect(await system.admin("select docname, fires from walhook.preview($1, $2)", [table, name])).toEqual([
      { docname: name, fires: true },
    ]);
    expect(await refusal(system.admin("select from walhook.preview($1, $2)", [table, shortName(name)]))).toMatchObject({
      message: expect.stringMatching(/ is the shortened name of a document of \w+$/),
      hint: "Give the whole name, which is in the body that was sent, or choose rows by a condition.",
    });
  });

  it("is backfilled", async () => {
    const webhook = `${table}-backfill`;
    await system.webhook(webhook, table, "on_trash");
    await system.admin("select walhook.backfill($1)", [webhook]);
    await eventually(async () => (await outcomes(webhook, name)).length === 1);
    expect(system.received(webhook).map(told)).toEqual([["backfill", 5, name, undefined]]);
  });
});

it("of a table that was dropped, what waits is cancelled by its whole name", async () => {
  const name = "x".repeat(2000);
  await system.app("create table gone (id text primary key)");
  await system.webhook("gone", "gone", "after_insert", { retry_schedule: "{1 h}" });
  answerAt("gone", () => 500);
  await system.app("insert into gone values ($1)", [name]);
  await eventually(() => system.received("gone").length === 1);
  await system.caughtUp();
  await system.app("drop table gone");
  expect(await system.admin("select walhook.cancel('gone', docname => $1) as n", [name])).toEqual([{ n: "1" }]);
  await system.settled();
});

it("leaves the bridge running all the time", async () => {
  await system.settled();
  expect(states.filter((state) => state !== "running")).toEqual([]);
  expect(await system.look("select state, last_error from walhook.bridge")).toEqual([
    { state: "running", last_error: null },
  ]);
});
