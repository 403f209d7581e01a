import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("replay_failure");
});
afterAll(() => system.drop());

describe("a replay of what cannot be read", () => {
  it("fails with the reason, and the bridge goes on, also with other replays", async () => {
    await system.app("create table orders (id int primary key)");
    await system.webhook("w", "orders", "after_insert", { batch_size: 10 });
    await system.webhook("other", "orders", "after_insert");
    await system.startBridge();
    await system.app("insert into orders select n from generate_series(1, 3) n");
    await system.settled();
    await system.look(
      "update walhook.webhook_request_log set request_body = 'no JSON' where webhook = 'w' and request_body is not null",
    );
    const again = "since => '-infinity', rate => 1000, dry_run => false";
    await system.admin(`select * from walhook.replay('w', ${again})`);
    await system.admin(`select * from walhook.replay('other', ${again})`);
    const states = () =>
      system.look("select webhook, state, error, ended_at is null as is_open from walhook.replay_progress order by 1");
    await eventually(async () => (await states()).every(({ is_open }) => is_open === false));
    expect(await states()).toEqual([
      { webhook: "other", state: "done", error: null, is_open: false },
      {
        webhook: "w",
        state: "failed",
        error: expect.stringMatching(
          /^invalid input syntax for type json.*ask for the rest by a narrower walhook\.replay$/,
        ),
        is_open: false,
      },
    ]);
    await eventually(() => system.received("other").length === 6);
    await system.app("insert into orders values (4)");
    await eventually(() => system.received("other").length === 7);
    expect(await system.look("select epoch::int, state from walhook.bridge")).toEqual([{ epoch: 1, state: "running" }]);
  });
});
