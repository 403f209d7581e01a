import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { seeded } from "../record/seeded.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("order");
  await system.app("create table items (id bigint generated always as identity primary key, writer int, note text)");
  await system.look("select pg_create_logical_replication_slot('oracle_' || current_database(), 'test_decoding')");
});
afterAll(() => system.drop());

const SEED = Number(process.env["WALHOOK_SEED"] ?? Date.now() % 1_000_000);

describe("configuration acts on exactly the transactions that commit after its own", () => {
  it(`while writers write, webhooks are toggled and the bridge is restarted (seed ${SEED})`, async () => {
    const random = seeded(SEED);
    await system.webhook("toggled", "items", "after_insert");
    await system.webhook("steady", "items", "after_insert");
    let bridge = await system.startBridge();
    let isOver = false;
    const writers = Array.from({ length: 3 }, async (_, writer) => {
      const client = await system.db.connect(system.roles.app);
      while (!isOver) await client.query("insert into items (writer) values ($1)", [writer]);
    });
    // The toggle is a row change like any other: its place among the others is its commit's place in the WAL.
    for (let round = 0; round < 30; round++) {
      await system.admin("update walhook.webhook set enabled = not enabled where name = 'toggled'");
      if (round % 10 === 5) {
        await bridge.stop();
        await system.admin("update walhook.webhook set enabled = not enabled where name = 'toggled'");
        await system.admin("update walhook.webhook set enabled = not enabled where name = 'toggled'");
        bridge = await system.startBridge();
      }
      const pauseUntil = Date.now() + random() * 30;
      await eventually(() => Date.now() > pauseUntil, { everyMs: 2 });
    }
    isOver = true;
    await Promise.all(writers);
    await system.settled(60_000);
    await bridge.stop();

    const expected = await eventsByWalOrder(system);
    const log = await system.look(
      "select webhook, docname from walhook.webhook_request_log where outcome = 'delivered' order by webhook, docname::bigint",
    );
    const of = (name: string) => log.filter(({ webhook }) => webhook === name).map(({ docname }) => docname as string);
    expect(of("steady")).toEqual(expected.all);
    expect(of("toggled")).toEqual(expected.whileEnabled);
    expect(expected.whileEnabled.length).toBeGreaterThan(0);
    expect(expected.whileEnabled.length).toBeLessThan(expected.all.length);
  }, 120_000);
});

/** The oracle reads the same WAL by another decoder: test_decoding's order of commits is the order of truth. */
async function eventsByWalOrder({
  look,
}: System): Promise<{ all: readonly string[]; whileEnabled: readonly string[] }> {
  const rows = (await look(
    "select data from pg_logical_slot_peek_changes('oracle_' || current_database(), null, null)",
  )) as {
    data: string;
  }[];
  const all: string[] = [];
  const whileEnabled: string[] = [];
  let isEnabled = true;
  for (const { data } of rows) {
    const insert = /^table public\.items: INSERT: id\[bigint\]:(\d+)/.exec(data);
    if (insert !== null) {
      all.push(insert[1]!);
      if (isEnabled) whileEnabled.push(insert[1]!);
    }
    const toggle =
      /^table walhook\.webhook: UPDATE:.*new-tuple:.* name\[text\]:'toggled'.* enabled\[boolean\]:(true|false)/.exec(
        data,
      );
    if (toggle !== null) isEnabled = toggle[1] === "true";
  }
  const byNumber = (a: string, b: string): number => Number(a) - Number(b);
  return { all: all.toSorted(byNumber), whileEnabled: whileEnabled.toSorted(byNumber) };
}
