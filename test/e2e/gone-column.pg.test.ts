import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("gone_column");
  await system.app("create table orders (id int primary key, note text); create table other (id int primary key)");
  await system.webhook("w", "orders", "after_insert, on_trash, on_truncate");
  await system.admin(
    "insert into walhook.webhook_data (webhook, fieldname, key) values ('w', 'id', 'id'), ('w', 'note', 'text')",
  );
  await system.webhook("z", "other", "after_insert");
  await system.startBridge();
  await system.app("insert into orders values (1, 'before')");
  await eventually(() => system.received("w").length === 1);
});
afterEach(() => system.drop());

const bodies = (): unknown[] => system.received("w").map(({ body }) => JSON.parse(body.toString()) as unknown);
const shown = () =>
  eventually(
    async () =>
      (await system.look("select last_error from walhook.webhook_state where name = 'w' and state = 'undecided'"))[0],
  );

describe("a column that webhook_data names and the application takes away", () => {
  it("has events wait, visibly, and delays nobody else; once the row names another one they are sent", async () => {
    await system.app("alter table orders rename note to remark; insert into orders values (2, 'two'), (3, 'three')");
    await system.app("delete from orders where id = 2");
    await system.app("insert into other values (1)");
    await eventually(() => system.received("z").length === 1);
    expect((await shown())["last_error"]).toBe(
      "webhook_data names note, which orders no longer has; " +
        "update walhook.webhook_data set fieldname = '…' where webhook = 'w' and fieldname = 'note', or delete that row",
    );
    expect(bodies()).toHaveLength(1);
    const why = await system.admin("select verdict, reason from walhook.why('orders', '3') where verdict = 'waiting'");
    expect(why).toMatchObject([{ reason: expect.stringContaining("webhook_data names note") as string }]);
    await system.admin(
      "update walhook.webhook_data set fieldname = 'remark' where webhook = 'w' and fieldname = 'note'",
    );
    await system.settled();
    expect(bodies().slice(1)).toHaveLength(3);
    expect(bodies().slice(1)).toEqual(
      expect.arrayContaining([
        { id: 2, text: "two" },
        { id: 3, text: "three" },
        { id: 2, text: "two" },
      ]),
    );
    const outcomes = await system.look(
      "select outcome, count(*)::int from walhook.webhook_request_log where webhook = 'w' group by 1",
    );
    expect(outcomes).toEqual([{ outcome: "delivered", count: 4 }]);
    await eventually(
      async () =>
        (await system.look("select from walhook.webhook_state where name = 'w' and state = 'ok'")).length === 1,
    );
  });

  it("is told by a preview, and is nothing to a truncate, which has no row", async () => {
    await system.app("alter table orders drop note");
    const [previewed] = await system.admin(
      "select fires, reason from walhook.preview('w', '1', event => 'after_insert')",
    );
    expect(previewed).toEqual({ fires: false, reason: expect.stringContaining("webhook_data names note") as string });
    await system.app("truncate orders");
    await eventually(() => system.received("w").length === 2);
    expect(bodies()[1]).toEqual({ id: null, text: null });
    await system.app("insert into orders values (4)");
    await shown();
    await system.admin("delete from walhook.webhook_data where fieldname = 'note'");
    await system.settled();
    expect(bodies()[2]).toEqual({ id: 4 });
  });

  it("has a backfill's rows wait as well", async () => {
    await system.app("alter table orders rename note to remark");
    await system.admin("select walhook.backfill('w')");
    await shown();
    await system.admin("update walhook.webhook_data set fieldname = 'remark' where fieldname = 'note'");
    await system.settled();
    await eventually(
      async () => (await system.admin("select from walhook.backfill_progress where state = 'done'")).length === 1,
    );
    expect(bodies()[1]).toEqual({ id: 1, text: "before" });
  });
});
