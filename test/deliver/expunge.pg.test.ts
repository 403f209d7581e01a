import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("expunge");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

/** Everything that stands in log and queue, as text. */
async function everything(): Promise<string> {
  const [row] = await system.look(`select
    (select string_agg(to_jsonb(l)::text, ' ') from walhook.webhook_request_log l) as log,
    (select string_agg(to_jsonb(q)::text || coalesce(convert_from(q.body, 'UTF8'), ''), ' ') from walhook.webhook_queue q) as queue`);
  return JSON.stringify(row);
}
const idOf = async (docname: string): Promise<string> =>
  (await system.look("select delivery_id from walhook.webhook_request_log where docname = $1", [docname]))[0]![
    "delivery_id"
  ] as string;
const expunge = (id: string): Promise<unknown> => system.admin("select walhook.expunge($1) as n", [id]);

describe("expunging a delivery", () => {
  it("leaves no body of it in the log, in none of its attempts, and the rows of others as they are", async () => {
    const url = `${system.receiver.url}/w?note={{doc.note}}`;
    await system.webhook("w", "orders", "after_insert", { is_dynamic_url: true, request_url: url });
    let failures = 1;
    system.receiver.answer(({ body }) => ({
      status: body.includes("Anna") && failures-- > 0 ? 500 : 200,
      body: body.toString(),
    }));
    await system.startBridge({ retryScheduleMs: [50] });
    await system.app("insert into orders values (1, 'Anna'), (2, 'Berta')");
    await eventually(() => system.receiver.requests.length === 3);
    await system.settled();
    expect(await expunge(await idOf("1"))).toEqual([{ n: 2 }]);
    const left = await everything();
    expect(left).not.toContain("Anna");
    expect(left).toContain("Berta");
    expect(
      await system.look(
        "select docname, attempt, outcome, body_kept, url from walhook.webhook_request_log order by docname, attempt",
      ),
    ).toMatchObject([
      { docname: "1", attempt: 1, outcome: "retry", body_kept: "expunged", url: system.receiver.url },
      { docname: "1", attempt: 2, outcome: "delivered", body_kept: "expunged" },
      { docname: "2", attempt: 1, outcome: "delivered", body_kept: "whole" },
    ]);
    expect(
      await system.look(
        "select log_rows, was_dead_letter, expunged_by::text, expunged_at <= now() as past from walhook.expunged",
      ),
    ).toEqual([{ log_rows: 2, was_dead_letter: false, expunged_by: system.roles.admin, past: true }]);
  });

  it("is refused while another attempt is to come", async () => {
    await system.webhook("w", "orders", "after_insert");
    system.receiver.answer({ status: 500 });
    await system.startBridge({ retryScheduleMs: [60_000] });
    await system.app("insert into orders values (1, 'Anna')");
    await eventually(async () => (await system.look("select from walhook.webhook_request_log")).length === 1);
    await expect(expunge(await idOf("1"))).rejects.toMatchObject({
      message: expect.stringMatching(/^delivery msg_\w+ has not ended/),
      hint: expect.stringContaining("retry_schedule = '{}'"),
    });
    expect(await everything()).toContain("Anna");
  });

  it("cancels a dead letter, which has nothing to send any more, and what waits behind it goes on", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { on_exhausted: "hold" });
    system.receiver.answer(({ body }) => ({ status: body.includes("Anna") ? 500 : 200 }));
    await system.startBridge({ retryScheduleMs: [] });
    await system.app("insert into orders values (1, 'Anna')");
    await eventually(async () => (await system.look("select from walhook.dead_letter")).length === 1);
    await system.app("update orders set note = 'Berta' where id = 1");
    await system.caughtUp();
    await expunge(await idOf("1"));
    expect(await everything()).not.toContain("Anna");
    await system.settled();
    expect(system.received("w").at(-1)?.body.toString()).toContain("Berta");
    expect(await system.look("select outcome, error from walhook.webhook_request_log order by sent_at")).toMatchObject([
      { outcome: "dead" },
      { outcome: "cancelled", error: `${system.roles.admin} cancelled this dead letter` },
      { outcome: "delivered" },
    ]);
    expect(await system.look("select from walhook.webhook_queue")).toEqual([]);
  });

  it("is not undone by a replay that was asked for before it, while no bridge ran", async () => {
    await system.webhook("w", "orders", "after_insert");
    system.receiver.answer({ status: 500 });
    const first = await system.startBridge({ retryScheduleMs: [] });
    await system.app("insert into orders values (1, 'Anna')");
    await eventually(async () => (await system.look("select from walhook.dead_letter")).length === 1);
    await first.stop();
    await system.admin("select walhook.replay_dead_letters('w')");
    await expunge(await idOf("1"));
    const sent = system.receiver.requests.length;
    await system.startBridge({ retryScheduleMs: [] });
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 0);
    expect(system.receiver.requests.length).toBe(sent);
    expect(await everything()).not.toContain("Anna");
  });

  it("takes its payload out of the batch that it went with, and leaves the others' byte for byte", async () => {
    await system.webhook("w", "orders", "after_insert", { batch_size: 10 });
    const ready = new Promise<void>((resolve) => system.receiver.answer(() => (resolve(), { delayMs: 100 })));
    await system.startBridge();
    await system.app("insert into orders values (0, 'first')");
    await ready;
    system.receiver.answer(({ body }) => ({ body: body.toString() }));
    await system.app("insert into orders values (1, 'Anna'), (2, 'Berta'), (3, 'Clara')");
    await system.settled();
    const sent = JSON.parse(system.received("w").at(-1)!.body.toString()) as { id: string; payload: unknown }[];
    expect(sent).toHaveLength(3);
    for (const [docname, name] of [
      ["2", "Berta"],
      ["1", "Anna"],
    ] as const) {
      await expunge(await idOf(docname));
      expect(await everything()).not.toContain(name);
    }
    const [row] = await system.look("select request_body from walhook.webhook_request_log where docname = '1'");
    const last = system.received("w").at(-1)!.body.toString();
    const [one, two] = [sent[0]!.id, sent[1]!.id];
    const clara = last.slice(last.indexOf(`{"id":"${sent[2]!.id}"`), -1);
    expect(row?.["request_body"]).toBe(
      `[{"id" : "${one}", "payload" : null},{"id" : "${two}", "payload" : null},${clara}]`,
    );
  });

  it("of what does not exist is an error, and only who configures may do it", async () => {
    await expect(expunge("msg_0")).rejects.toMatchObject({ message: "there is no delivery msg_0" });
    expect(await system.look("select from walhook.expunged")).toEqual([]);
    await expect(system.app("select walhook.expunge('msg_0')")).rejects.toMatchObject({ code: "42501" });
    const bridge = await system.db.connect(system.roles.bridge);
    await expect(bridge.query("select walhook.expunge('msg_0')")).rejects.toMatchObject({ code: "42501" });
    await expect(bridge.query("insert into walhook.expunged (delivery_id) values ('msg_0')")).rejects.toMatchObject({
      code: "42501",
    });
    await bridge.end();
  });

  it("may be done twice, also in one transaction", async () => {
    await system.webhook("w", "orders", "after_insert");
    await system.startBridge();
    await system.app("insert into orders values (1, 'Anna')");
    await system.settled();
    const id = await idOf("1");
    await system.admin("begin");
    expect([await expunge(id), await expunge(id)]).toEqual([[{ n: 1 }], [{ n: 1 }]]);
    await system.admin("commit");
  });
});
