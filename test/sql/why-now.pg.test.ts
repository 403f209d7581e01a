import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Bridge } from "../../src/bridge.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let bridge: Bridge | null = null;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;
const leaver = `leaver_${randomBytes(4).toString("hex")}`;

interface Why {
  readonly webhook: string | null;
  readonly verdict: string;
  readonly reason: string;
}
async function why(docname: string, table = "orders"): Promise<readonly Why[]> {
  const sql = `select webhook, verdict, reason from walhook.why('${table}', '${docname}')`;
  return (await system.db.queryAs(analyst, sql)).rows as Why[];
}
/** What the row "now" of a webhook says, a sentence a line. */
async function now(webhook: string, table = "orders"): Promise<readonly string[]> {
  const [row] = (await why("1", table)).filter((one) => one.webhook === webhook && one.verdict === "now");
  return row?.reason.split("\n") ?? [];
}
/** What stands of a delivery that waits. */
const waiting = async (webhook: string, docname: string): Promise<string | undefined> =>
  (await why(docname)).find((row) => row.webhook === webhook && row.verdict === "waiting")?.reason;

beforeAll(async () => {
  system = await startSystem("why_now");
  await system.look(
    `create role ${analyst} login in role walhook_analyst; create role ${leaver} login in role walhook_admin`,
  );
  await system.app(`create table orders (id int primary key, status text); grant select on orders to ${leaver};
    create table lonely (id int primary key)`);
  await system.webhook("fine", "orders", "after_insert");
  await system.webhook("conditional", "orders", "after_insert, on_truncate", { condition: "doc.status = 'Paid'" });
  await system.webhook("telling", "orders", "after_insert", { condition: "doc.status = 'Paid'", log_decisions: true });
  await system.webhook("off", "orders", "after_insert", { enabled: false });
  await system.webhook("paused", "orders", "after_insert");
  await system.webhook("broken", "orders", "after_insert", { request_url: "http://127.0.0.1:9/" });
  await system.webhook("silent", "orders", "after_insert", { condition: "pg_sleep(10) is null" });
  await system.webhook("forbidden", "orders", "after_insert", { request_url: "http://169.254.169.254/" });
  await system.webhook("garbled", "orders", "after_insert", { webhook_json: '{"id": {{doc.id}}}' });
  // As a webhook that was made before its INSERT would have refused this.
  await system.look(
    `begin; set local session_replication_role = replica;
     update walhook.webhook set webhook_json = '{"id": {{doc..id}}}' where name = 'garbled'; commit`,
  );
  await system.webhook("gone", "orders", "after_insert", { request_url: `${system.receiver.url}/gone` });
  await system.db.queryAs(
    leaver,
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
     values ('leaving', 'orders', 'after_insert', '${system.receiver.url}/leaving')`,
  );
});
afterAll(() => system.drop());

describe("the row now of walhook.why, before a bridge has run", () => {
  it("says so", async () => {
    expect(await now("fine")).toEqual([
      "no bridge has run yet: walhook run",
      "it watches after_insert: other events of this table make nothing",
      expect.stringMatching(/^it was made at .*: what was committed before passed it by$/),
    ]);
  });

  it("of a table that no webhook watches is all that there is", async () => {
    expect(await why("1", "lonely")).toEqual([
      { webhook: null, verdict: "now", reason: "no webhook watches table public.lonely" },
    ]);
  });
});

describe("the row now, while a bridge is at work,", () => {
  beforeAll(async () => {
    system.receiver.answer(({ path }) => ({ status: path === "/gone" ? 410 : 200 }));
    bridge = await system.startBridge({ conditionTimeoutMs: 50, graceMs: 50 });
    await system.admin("select walhook.pause('paused', 'they asked for it')");
    await system.look(`revoke select on orders from ${leaver}`);
    await eventually(
      async () => (await system.look("select from walhook.webhook_state where state = 'held'")).length === 1,
    );
    await system.app("insert into orders select n from generate_series(1, 12) n");
  });

  it("says that nothing keeps it from sending, what it watches, and what is kept", async () => {
    expect((await now("fine"))[0]).toBe("nothing keeps it from sending");
    expect(await now("conditional")).toEqual([
      "nothing keeps it from sending",
      "it watches after_insert and on_truncate: other events of this table make nothing",
      "where its condition is not TRUE, nothing is kept: log_decisions = true keeps the reason, and walhook.preview asks it about the row as it is",
      expect.stringMatching(/^it was made at/),
    ]);
  });

  it("says of a webhook that keeps decisions which changes are not even seen, since nobody publishes them", async () => {
    const blind = /^its table is published for INSERT and TRUNCATE only, since no webhook needs more/;
    expect(await now("telling")).toContain("where it does not fire, the reason is kept for a day (log_decisions)");
    expect(await now("telling")).toContainEqual(expect.stringMatching(blind));
    expect(await now("fine")).not.toContainEqual(expect.stringMatching(blind));
    await system.webhook("updates", "orders", "on_update");
    expect(await now("telling")).not.toContainEqual(expect.stringMatching(blind));
  });

  it("says when it was changed last", async () => {
    await system.admin("update walhook.webhook set timeout = '4 s' where name = 'fine'");
    expect((await now("fine")).at(-1)).toMatch(
      /^it was changed last at .*: what was committed before met it as it was then$/,
    );
  });

  it("says that it is disabled, and where Walhook did that, why", async () => {
    const disabled = "it is disabled: what is committed now passes it by, deliveries that are open wait";
    expect((await now("off"))[0]).toBe(disabled);
    await eventually(async () => (await now("gone"))[0]?.startsWith("it is disabled"));
    expect((await now("gone"))[0]).toMatch(new RegExp(`^${disabled}; Walhook disabled it: .*410`));
  });

  it("says that it is paused, by whom and why, and how to go on; so does what waits", async () => {
    expect((await now("paused"))[0]).toMatch(
      /^it is paused since .* by .*admin.* \(they asked for it\): its deliveries wait until walhook\.resume\('paused'\)$/,
    );
    await eventually(async () =>
      /^its next attempt is due; it is paused since .* by .*\(they asked for it\)$/.test(
        (await waiting("paused", "3")) ?? "",
      ),
    );
  });

  it("says that its breaker is open, and until when; so does what waits", async () => {
    await eventually(async () => (await now("broken"))[0]?.startsWith("its breaker"));
    expect((await now("broken"))[0]).toMatch(
      /^its breaker is open until .*, since its receiver fails or has asked for a pause: its deliveries wait, which costs no attempt$/,
    );
    await eventually(async () => /; its breaker is open until [^;]*$/.test((await waiting("broken", "12")) ?? ""));
  });

  it("says that nothing can be made by its template, and why, also where it was there before the bridge's first start", async () => {
    expect((await now("garbled"))[0]).toMatch(
      /^nothing can be made by its template: webhook_json: "doc..id" is not a name/,
    );
  });

  it("says that it is held since its author lost a right, and the remedy; so does what waits", async () => {
    expect((await now("leaving"))[0]).toMatch(
      new RegExp(`^it is held, its deliveries wait: .*${leaver}.*remedy: .*grant`),
    );
    await eventually(async () => (await waiting("leaving", "3"))?.endsWith("; it is held"));
  });

  it("says that its condition does not answer; so does what waits", async () => {
    await eventually(async () => (await now("silent"))[0]?.startsWith("its condition does not answer"), {
      withinMs: 30_000,
    });
    expect((await now("silent"))[0]).toBe(
      "its condition does not answer, what it is asked about waits: the condition did not answer in time",
    );
    expect(await waiting("silent", "3")).toBe(
      "its condition is to be asked again: the condition did not answer in time; its condition does not answer",
    );
  });

  it("says that it may not go to its address", async () => {
    await eventually(async () => (await now("forbidden"))[0]?.startsWith("it may not go to its address"));
    expect((await now("forbidden"))[0]).toMatch(/^it may not go to its address, its deliveries wait: .*169\.254/);
  });

  it("shows words of errors only to who may read them", async () => {
    const monitor = `alien_${randomBytes(4).toString("hex")}`;
    await system.look(`create role ${monitor} login; grant usage on schema walhook to ${monitor};
      grant select on walhook.webhook_obstacle to ${monitor}`);
    const { rows } = await system.db.queryAs(
      monitor,
      "select obstacle from walhook.webhook_obstacle where webhook = 'leaving'",
    );
    expect(rows).toEqual([{ obstacle: "it is held, its deliveries wait" }]);
  });
});

describe("the row now, where the bridge is not at work,", () => {
  const start = async (): Promise<void> => void (await system.startBridge().catch(() => {}));
  const state = async (): Promise<unknown> => (await system.look("select state from walhook.bridge"))[0]?.["state"];

  it("says that it is stopped, that it crashed, or what it failed with", async () => {
    await bridge!.stop();
    expect((await now("fine"))[0]).toBe(
      "the bridge is stopped, and what is committed waits in the write-ahead log: walhook run",
    );
    expect(await waiting("paused", "3")).toMatch(
      /^its next attempt is due; it is paused since .*; the bridge is stopped$/,
    );
    // As a crash leaves it.
    await system.look("update walhook.bridge set state = 'running'");
    expect((await now("fine"))[0]).toBe(
      "no bridge is connected, and what is committed waits in the write-ahead log: walhook run",
    );
    await system.look("update walhook.bridge set state = 'failed', last_error = 'out of luck'");
    expect((await now("fine"))[0]).toBe("the bridge has failed: out of luck");
    await system.look("update walhook.bridge set state = 'stopped', last_error = null");
  });

  it("says that the table was taken out of its publication, and of the gap, with the remedy", async () => {
    await system.look("alter publication walhook_all drop table orders");
    expect(await now("fine")).toContain(
      "its table was taken out of its publication, so changes of it may be missing: walhook accept-gap shows what to do",
    );
    await start();
    await eventually(async () => (await state()) === "gap");
    const said = await now("fine");
    expect(said).toContainEqual(
      expect.stringMatching(/^the bridge has stopped at a gap \(table_unpublished\): .*accept-gap/),
    );
    expect(said).toContainEqual(expect.stringMatching(/^its table was taken out of its publication/));
    expect(said.filter((line) => line.includes("bridge"))).toHaveLength(1);
  });

  it("says that its table is not published at all, and how to mend it", async () => {
    await system.look("delete from walhook.published where relation = 'orders'::regclass");
    expect(await now("fine")).toContain(
      "its table is not published, so no change of it is seen: update walhook.webhook set revision = revision + 1 where name = 'fine'",
    );
    await system.admin("update walhook.webhook set revision = revision + 1 where name = 'fine'");
    expect(await now("fine")).not.toContainEqual(expect.stringContaining("not published"));
  });
});
