import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("replay_backfill");
});
afterAll(() => system.drop());

it("rows that a backfill has sent can be sent again from the log: same ids, same bytes", async () => {
  await system.app(
    "create table orders (id int primary key); insert into orders select n from generate_series(1, 40) n",
  );
  await system.webhook("w", "orders", "after_insert");
  await system.startBridge();
  await system.admin("select walhook.backfill('w')");
  await eventually(() => system.received("w").length === 40);
  await system.settled();
  await system.admin("select * from walhook.replay('w', since => '-infinity', rate => 1000, dry_run => false)");
  await eventually(() => system.received("w").length >= 80);
  await system.settled();
  const sent = system.received("w").map(({ headers, body }) => `${headers["webhook-id"]} ${body.toString()}`);
  expect(sent).toHaveLength(80);
  expect(sent.slice(40).toSorted()).toEqual(sent.slice(0, 40).toSorted());
  expect(
    await system.look(
      "select source, outcome, count(*)::int as n from walhook.webhook_request_log group by 1, 2 order by 1",
    ),
  ).toEqual([
    { source: "backfill", outcome: "delivered", n: 40 },
    { source: "replay", outcome: "delivered", n: 40 },
  ]);
  expect(await system.look("select state, queued::int, skipped::int from walhook.replay_progress")).toEqual([
    { state: "done", queued: 40, skipped: 0 },
  ]);
});
