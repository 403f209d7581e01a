import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("backfill_session");
});
afterAll(() => system.drop());

it("a backfill whose last rows were under way when the connection was lost is not done, but sends them again", async () => {
  await system.app(
    "create table orders (id int primary key); insert into orders select n from generate_series(1, 10) n",
  );
  await system.webhook("w", "orders", "after_insert");
  system.receiver.answer({ hang: true });
  await system.startBridge();
  await system.admin("select walhook.backfill('w')");
  await eventually(() => system.received("w").length >= 10);
  await system.look(
    "select pg_terminate_backend(active_pid) from pg_replication_slots where active and database = current_database()",
  );
  system.receiver.answer({});
  const state = async (): Promise<unknown> =>
    (await system.look("select state, rows_done::int, rows_sent::int from walhook.backfill_progress"))[0];
  await eventually(async () => ((await state()) as { state: string }).state === "done", { withinMs: 30_000 });
  await system.settled();
  expect(await state()).toEqual({ state: "done", rows_done: 10, rows_sent: 10 });
  expect(
    await system.look(
      "select count(distinct docname)::int as n from walhook.webhook_request_log where outcome = 'delivered'",
    ),
  ).toEqual([{ n: 10 }]);
});
