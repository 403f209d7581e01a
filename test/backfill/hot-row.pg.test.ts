import { afterEach, beforeEach, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("hot_row");
});
afterEach(() => system.drop());

interface Sent {
  readonly event: string;
  readonly doc: { readonly id: number; readonly v: number };
}
const sent = ({ body }: ReceivedRequest): Sent => (JSON.parse(body.toString()) as { data: Sent }).data;

it.each([
  ["that sends none of its changes: it is sent once, as it was after the backfill was asked for", "on_trash", null],
  ["that sends each of its changes: it is left to them, or sent in order between two of them", "on_update", null],
  ["that sends some of its changes: the same", "on_update", "event = 'backfill' or doc.v % 10 = 0"],
])("a row that changes as fast as it can under a webhook %s", async (_, events, condition) => {
  await system.app("create table orders (id int primary key, v int); insert into orders values (1, 0), (2, 0), (3, 0)");
  await system.webhook("w", "orders", events, { condition });
  await system.startBridge();
  const isEachSent = events === "on_update" && condition === null;
  // A little slower, so that some of the backfills find it as it was sent last.
  const writers = await Promise.all((isEachSent ? [1] : [1, 2]).map(() => system.db.connect(system.roles.app)));
  const pauseS = isEachSent ? 0.002 : 0;
  let isOver = false;
  let updates = 0;
  // Each change of a row waits for the answer to the one before: what is written faster would only fill the queue.
  const updatesPerRequest = events === "on_trash" ? 0 : isEachSent ? 1 : 10;
  const isAhead = (): boolean =>
    updates * Math.sign(updatesPerRequest) > 400 + updatesPerRequest * system.receiver.requests.length;
  const writing = writers.map(async (writer) => {
    await writer.query("set synchronous_commit = off");
    while (!isOver) {
      await writer.query(`update orders set v = v + 1 from pg_sleep(${pauseS}) where id = 2`);
      updates++;
      await eventually(() => isOver || !isAhead(), { everyMs: 2 });
    }
  });
  const value = async () => Number((await system.look("select v from orders where id = 2"))[0]!["v"]);
  try {
    await eventually(async () => (await value()) > 200);
    for (let number = 1; number <= 20; number++) {
      const before = await value();
      await system.admin("select walhook.backfill('w')");
      await eventually(
        async () =>
          (
            await system.look("select from walhook.backfill_progress where backfill_id = $1 and state = 'done'", [
              number,
            ])
          ).length > 0,
      );
      const last = system
        .received("w")
        .map(sent)
        .findLast(({ doc }) => doc.id === 2);
      if (events === "on_trash") expect(last!.doc.v).toBeGreaterThanOrEqual(before);
    }
  } finally {
    isOver = true;
    await Promise.all(writing);
  }
  await system.settled();
  let newest = 0;
  let backfilled = 0;
  for (const { event, doc } of system.received("w").map(sent)) {
    if (doc.id !== 2) continue;
    expect(doc.v).toBeGreaterThanOrEqual(newest);
    // No change is sent behind a row that had it.
    if (event !== "backfill" && newest > 0) expect(doc.v).toBeGreaterThan(newest);
    newest = doc.v;
    if (event === "backfill") backfilled++;
  }
  if (events === "on_trash") expect(backfilled).toBe(20);
  process.stderr.write(`${events}, ${String(condition)}: ${await value()} updates, ${backfilled} of 20 sent\n`);
});
