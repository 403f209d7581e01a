import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startRelay } from "../support/relay.ts";
import { startSystem } from "../support/system.ts";

it("an answer that comes while a stop writes the last checkpoint is logged once, with its row of the queue", async () => {
  await using system = await startSystem("close_beside");
  await system.app("create table orders (id int primary key, note text)");
  await system.webhook("w", "orders", "after_insert", { retry_schedule: "{100 ms, 1 s}", timeout: "20 s" });
  const direct = system.db.urlAs(system.roles.bridge);
  using relay = await startRelay(direct);
  const bridge = await system.startBridge({
    databaseUrl: relay.url,
    replicationUrl: direct,
    drainMs: 50,
    graceMs: 60_000,
  });
  const delivered: (string | null)[] = [];
  bridge.activity.subscribe((activity) => {
    if (activity.kind === "attempt" && activity.attempt.outcome === "delivered")
      delivered.push(activity.attempt.delivery.docname);
  });
  const waiting: (() => void)[] = [];
  let attempts = 0;
  system.receiver.answer(({ body }) =>
    body.includes("first") && attempts++ === 0
      ? { status: 500 }
      : { until: new Promise<void>((resolve) => waiting.push(resolve)) },
  );
  await system.app("insert into orders values (1, 'first')");
  await eventually(() => waiting.length === 1); // Its second attempt, from the queue.
  await system.app("insert into orders values (2, 'other')");
  await eventually(() => waiting.length === 2);
  const held = relay.hold("copy walhook.webhook_queue", "answer"); // Of the last checkpoint.
  const stopped = bridge.stop();
  await held.isCaught;
  const [first, other] = waiting;
  first!();
  await eventually(() => delivered.includes("1"));
  held.release();
  await stopped;
  other!();
  system.receiver.answer({});
  await system.startBridge();
  await system.settled();
  expect(
    await system.look(
      "select count(*)::int from walhook.webhook_request_log where docname = '1' and outcome = 'delivered'",
    ),
  ).toEqual([{ count: 1 }]);
});
