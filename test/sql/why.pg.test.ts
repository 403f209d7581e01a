import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;
const REFUSED = "http://127.0.0.1:9/";
beforeAll(async () => {
  system = await startSystem("why");
  await system.look(`create role ${analyst} login in role walhook_analyst`);
  await system.app("create table orders (id int primary key, status text)");
  await system.webhook("plain", "orders", "after_insert");
  await system.webhook("kept", "orders", "after_insert, on_update", {
    condition: "doc.status = 'Paid'",
    log_decisions: true,
  });
  await system.webhook("forgetful", "orders", "after_insert", { condition: "doc.status = 'Paid'" });
  await system.webhook("broken", "orders", "after_insert", { condition: "1 / (doc.id - doc.id) = 1" });
  await system.webhook("retrying", "orders", "after_insert, on_update", {
    request_url: REFUSED,
    retry_schedule: "{1 h}",
  });
  await system.webhook("dead", "orders", "after_insert", { request_url: REFUSED, retry_schedule: "{}" });
  await system.webhook("off", "orders", "after_insert", { enabled: false });
  await system.webhook("choosy", "orders", "after_insert", { log_decisions: true });
  await system.webhook("watched-off", "orders", "after_insert", { enabled: false, log_decisions: true });
});
afterAll(() => system.drop());

interface Why {
  readonly webhook: string | null;
  readonly docevent: string;
  readonly verdict: string;
  readonly reason: string;
}
async function why(docname: string, table = "orders"): Promise<readonly Why[]> {
  return (await system.admin("select webhook, docevent, verdict, reason from walhook.why($1, $2)", [
    table,
    docname,
  ])) as unknown as Why[];
}

describe("walhook.why", () => {
  it("says of each change and webhook whether it was sent, waits, was given up, and why", async () => {
    await using _ = await system.startBridge({ graceMs: 50 });
    await system.app("insert into orders values (1, 'Open'), (2, null), (3, 'Paid')");
    await system.app("update orders set status = 'Void' where id = 1");
    await system.caughtUp();
    await eventually(async () => (await system.look("select from walhook.webhook_queue where is_dead")).length === 3);
    await eventually(async () => (await why("1")).some(({ reason }) => reason.includes("earlier delivery")));
    // Whose answer comes after the grace is in the queue for a moment.
    await eventually(
      async () =>
        (await system.look("select from walhook.webhook_queue where webhook in ('plain', 'kept', 'choosy')")).length ===
        0,
    );
    const found = (await why("1")).filter(({ verdict }) => verdict !== "now");
    const of = (webhook: string): readonly string[] =>
      found
        .filter((row) => row.webhook === webhook)
        .map(({ docevent, verdict, reason }) => `${docevent} ${verdict}: ${reason}`);
    expect(of("plain")).toEqual(["after_insert sent: HTTP 200"]);
    expect(of("kept")).toEqual([
      "on_update not sent: its condition is FALSE for this row",
      "after_insert not sent: its condition is FALSE for this row",
    ]);
    expect(of("choosy")).toEqual([
      "on_update not sent: event not chosen: the change is on_update, it watches after_insert",
      "after_insert sent: HTTP 200",
    ]);
    expect(of("watched-off")).toEqual([
      "on_update not sent: it was disabled when the change was committed; event not chosen: the change is on_update, it watches after_insert",
      "after_insert not sent: it was disabled when the change was committed",
    ]);
    expect(of("forgetful")).toEqual([]);
    expect(of("broken")).toEqual([
      expect.stringContaining("after_insert not sent: error: the condition raised an error: division by zero"),
    ]);
    expect(of("dead")).toEqual([
      expect.stringContaining("after_insert given up: every attempt failed, the last one with "),
    ]);
    expect(of("retrying")).toEqual([
      "on_update waiting: an earlier delivery of this document has not ended",
      expect.stringMatching(/^after_insert waiting: its next attempt is due at .*; the last one failed with /),
    ]);
    expect(of("off")).toEqual([]);
    expect((await why("2")).filter(({ webhook, verdict }) => webhook === "kept" && verdict === "not sent")).toEqual([
      {
        webhook: "kept",
        docevent: "after_insert",
        verdict: "not sent",
        reason:
          "its condition is NULL (unknown) for this row, which does not fire: a value in it is NULL; see coalesce or IS DISTINCT FROM",
      },
    ]);
    expect((await why("3")).filter(({ webhook, verdict }) => webhook === "kept" && verdict === "sent")).toHaveLength(1);
  });

  it("gives a dead letter's remedy as a statement that works", async () => {
    const [dead] = (await why("1")).filter(({ verdict }) => verdict === "given up");
    const [, statement = ""] = /to try again: (select .*)$/.exec(dead!.reason) ?? [];
    expect(await system.admin(`${statement} as n`)).toEqual([{ n: "1" }]);
  });

  it("keeps each decision once over restarts, not in the log and not in the rollup", async () => {
    const kept = async () =>
      await system.look(
        "select docname, webhook, count(*)::int as n from walhook.webhook_decision group by 1, 2 order by 1, 2",
      );
    const expected = [
      { docname: "1", webhook: "choosy", n: 1 },
      { docname: "1", webhook: "kept", n: 2 },
      { docname: "1", webhook: "watched-off", n: 2 },
      { docname: "2", webhook: "kept", n: 1 },
      { docname: "2", webhook: "watched-off", n: 1 },
      { docname: "3", webhook: "watched-off", n: 1 },
    ];
    expect(await kept()).toEqual(expected);
    await using _ = await system.startBridge();
    await system.app("insert into orders values (4, 'Paid')");
    await system.caughtUp();
    expect(await kept()).toEqual([...expected, { docname: "4", webhook: "watched-off", n: 1 }]);
    expect(await system.look("select from walhook.webhook_rollup where outcome = 'declined'")).toEqual([]);
    expect(
      await system.look(
        "select from walhook.webhook_request_log where webhook_id in (select webhook_id from walhook.webhook_decision) and outcome <> 'delivered'",
      ),
    ).toEqual([]);
  });

  it("does not claim FALSE where an earlier version made the condition's function", async () => {
    await system.look(
      `set session_replication_role = replica;
       update walhook.webhook set condition_tells_null = null where name = 'kept'; set session_replication_role = origin`,
    );
    await using _ = await system.startBridge();
    await system.app("insert into orders values (5, 'Open')");
    await system.caughtUp();
    const reasons = async (docname: string) =>
      (await why(docname))
        .filter(({ webhook, verdict }) => webhook === "kept" && verdict !== "now")
        .map(({ reason }) => reason);
    expect(await reasons("5")).toEqual([expect.stringMatching(/^its condition is FALSE or NULL for this row/)]);
    await system.admin("update walhook.webhook set timeout = '4 s' where name = 'kept'");
    await system.app("insert into orders values (6, 'Open')");
    await system.caughtUp();
    expect(await reasons("6")).toEqual(["its condition is FALSE for this row"]);
  });

  it("shows rows of a table only to who may read it, whatever tables are called", async () => {
    await system.look(
      `create table secret (id int primary key, word text); alter table secret owner to "${system.roles.app}"`,
    );
    await expect(system.admin("select from walhook.why('secret', '1')")).rejects.toMatchObject({ code: "42501" });
    await system.look(`revoke select on orders from "${system.roles.admin}"`);
    await expect(why("1")).rejects.toMatchObject({ code: "42501" });
    expect(await system.admin("select from walhook.document_history")).toEqual([]);
    const { rows } = await system.db.queryAs(
      analyst,
      "select verdict from walhook.why('orders', '1') where webhook = 'plain' and verdict = 'sent'",
    );
    expect(rows).toHaveLength(1);
    await system.look(`grant select on orders to "${system.roles.admin}"`);
  });

  it("keeps decisions for a day", async () => {
    await system.look(
      "update walhook.webhook_decision set decided_at = now() - interval '25 hours' where docname = '2'",
    );
    const { rows } = await system.db.queryAs(system.roles.bridge, "select walhook.trim_decisions()::int as gone");
    expect(rows).toEqual([{ gone: 2 }]);
  });
});
