import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("why_held");
  await system.app("create table orders (id int primary key, status text)");
  await system.webhook("holds", "orders", "after_insert, on_update", {
    request_url: "http://127.0.0.1:9/",
    retry_schedule: "{}",
    on_exhausted: "hold",
  });
});
afterAll(() => system.drop());

interface Why {
  readonly docevent: string;
  readonly verdict: string;
  readonly reason: string;
}
const why = async (docname: string): Promise<readonly Why[]> =>
  (await system.admin("select docevent, verdict, reason from walhook.why('orders', $1)", [
    docname,
  ])) as unknown as Why[];

describe("walhook.why of a document behind a dead letter that holds it", () => {
  it("names the dead letter, with a statement that works, also for what is to come; other documents have nothing of it", async () => {
    await using _ = await system.startBridge({ graceMs: 50 });
    await system.app("insert into orders values (1, 'Open')");
    await eventually(async () => (await system.look("select from walhook.dead_letter where holds_lane")).length === 1);
    await system.app("update orders set status = 'Paid' where id = 1");
    const waiting = await eventually(async () => (await why("1")).find(({ verdict }) => verdict === "waiting"));
    const [{ delivery_id: id }] = (await system.look("select delivery_id from walhook.dead_letter")) as [
      { delivery_id: string },
    ];
    const words =
      `behind the dead letter ${id}, which holds its document (on_exhausted = 'hold'): ` +
      `select walhook.replay_dead_letters('holds', delivery_id => '${id}'), or walhook.cancel_dead_letters(…)`;
    expect(waiting).toEqual({ docevent: "on_update", verdict: "waiting", reason: `it waits ${words}` });
    const now = (rows: readonly Why[]): readonly string[] =>
      rows.find(({ verdict }) => verdict === "now")!.reason.split("\n");
    const rows = await why("1");
    expect(now(rows)[0]).toBe(`changes of this document wait ${words}`);
    expect(now(await why("2"))[0]).toBe("nothing keeps it from sending");

    const [, statement = ""] = /: (select .*), or/.exec(waiting.reason) ?? [];
    expect(await system.admin(statement.replace("replay", "cancel").replace(/$/, " as n"))).toEqual([{ n: "1" }]);
    await eventually(async () =>
      (await why("1")).some((row) => row.docevent === "on_update" && row.verdict === "given up"),
    );
  });
});
