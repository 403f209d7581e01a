import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("repair");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

const note = ({ body }: ReceivedRequest): string =>
  (JSON.parse(body.toString()) as { data: { doc: { note: string } } }).data.doc.note;
const notes = (name = "w"): string[] => system.received(name).map(note);
const log = (columns: string) =>
  system.look(`select ${columns} from walhook.webhook_request_log order by sent_at, delivery_id`);
const queued = async (): Promise<number> =>
  Number((await system.look("select count(*) as n from walhook.webhook_queue"))[0]!["n"]);

describe("a webhook that is paused", () => {
  it("sends nothing, keeps what happens in the queue, over a restart too, and sends it in order when it is resumed", async () => {
    await system.webhook("w", "orders", "after_insert, on_update");
    await system.webhook("other", "orders", "after_insert");
    const first = await system.startBridge();
    expect(await system.admin("select walhook.pause('w', 'moving house') as done")).toEqual([{ done: true }]);
    expect(await system.admin("select walhook.pause('w') as done")).toEqual([{ done: false }]);
    await system.app("insert into orders values (1, 'a1'); update orders set note = 'a2'");
    await eventually(() => system.received("other").length === 1);
    await system.caughtUp();
    await first.stop();
    await system.startBridge();
    await system.app("update orders set note = 'a3'");
    await system.caughtUp();
    expect(notes()).toEqual([]);
    expect(await queued()).toBe(3);
    expect(await system.admin("select reason, paused_by::text from walhook.paused")).toEqual([
      { reason: "moving house", paused_by: system.roles.admin },
    ]);
    expect(await system.admin("select walhook.resume('w') as done")).toEqual([{ done: true }]);
    await system.settled();
    expect(notes()).toEqual(["a1", "a2", "a3"]);
    await system.app("update orders set note = 'a4'");
    await eventually(() => notes().at(-1) === "a4");
  });

  it("is disabled neither by that nor changed in its author", async () => {
    await system.webhook("w", "orders", "after_insert");
    const before = await system.look("select enabled, author, modified_at from walhook.webhook");
    await system.admin("select walhook.pause('w')");
    expect(await system.look("select enabled, author, modified_at from walhook.webhook")).toEqual(before);
  });
});

describe("walhook.cancel", () => {
  it.each(["since => '-infinity'", "since => '0044-03-15 BC'", "until => '20000-01-01'", "until => 'infinity'"])(
    "takes any date that Postgres has: %s, with a request under way",
    async (bound) => {
      await system.webhook("w", "orders", "after_insert", { retry_schedule: "{1 h}" });
      system.receiver.answer({ status: 500, delayMs: 300 });
      const bridge = await system.startBridge();
      await system.app("insert into orders values (1, 'a')");
      await eventually(() => system.received("w").length === 1);
      await system.admin(`select walhook.cancel('w', ${bound})`);
      await eventually(async () => (await log("outcome")).some(({ outcome }) => outcome === "cancelled"));
      await system.caughtUp();
      await bridge.stop();
    },
  );

  it("takes what waits out of the queue, with a log row each; later events go on", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{1 h}" });
    system.receiver.answer({ status: 500 });
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1'), (2, 'b1'); update orders set note = 'a2' where id = 1");
    await eventually(async () => (await queued()) === 3);
    await system.caughtUp();
    expect(await system.admin("select walhook.cancel('w', dry_run => true) as n")).toEqual([{ n: "3" }]);
    expect(await system.admin("select walhook.cancel('w', docname => '1') as n")).toEqual([{ n: "2" }]);
    await eventually(async () => (await queued()) === 1);
    expect(
      await system.look("select docname, outcome, error from walhook.webhook_request_log where outcome = 'cancelled'"),
    ).toEqual(
      Array.from({ length: 2 }, () => ({
        docname: "1",
        outcome: "cancelled",
        error: `${system.roles.admin} cancelled it`,
      })),
    );
    system.receiver.answer({});
    await system.app("update orders set note = 'a3' where id = 1");
    await eventually(() => notes().includes("a3"));
    expect(notes()).not.toContain("a2");
  });

  it("lets a request under way end, and makes it the last one", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { retry_schedule: "{100 ms}", timeout: "10 s" });
    system.receiver.answer({ status: 500, delayMs: 1000 });
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1'); update orders set note = 'a2'");
    await eventually(() => system.received("w").length === 1);
    await system.admin("select walhook.cancel('w')");
    await eventually(async () => (await log("outcome")).length === 3);
    await system.settled();
    expect((await log("outcome || ' ' || docevent as what")).map(({ what }) => String(what)).toSorted()).toEqual([
      "cancelled after_insert",
      "cancelled on_update",
      "retry after_insert",
    ]);
    expect(notes()).toEqual(["a1"]);
    system.receiver.answer({});
    await system.app("update orders set note = 'a3'");
    await eventually(() => notes().at(-1) === "a3");
    expect(await queued()).toBe(0);
  });

  it("takes dead letters out as well", async () => {
    await system.webhook("w", "orders", "after_insert", { retry_schedule: "{}", on_exhausted: "hold" });
    system.receiver.answer({ status: 500 });
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1')");
    await eventually(async () => (await system.look("select from walhook.dead_letter")).length === 1);
    await system.admin("select walhook.cancel('w')");
    await eventually(async () => (await queued()) === 0);
  });
});

describe("walhook.replay", () => {
  const replayed = () => system.look("select state, deliveries, queued, skipped from walhook.replay_progress");

  it("says first how many there are, then sends them again: same id, same bytes, in no lane, and the log says so", async () => {
    await system.webhook("w", "orders", "after_insert, on_update");
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1'), (2, 'b1'); update orders set note = 'a2' where id = 1");
    await system.settled();
    const counts = "deliveries::int, replayable::int, not_replayable::int, reasons";
    const all = "since => '-infinity'";
    expect(await system.admin(`select ${counts}, replay_id from walhook.replay('w', ${all})`)).toEqual([
      { deliveries: 3, replayable: 3, not_replayable: 0, reasons: {}, replay_id: null },
    ]);
    expect(system.received("w")).toHaveLength(3);
    await system.admin(`select from walhook.replay('w', ${all}, docname => '1', dry_run => false)`);
    await eventually(() => system.received("w").length === 5);
    await eventually(async () => (await replayed())[0]?.["state"] === "done");
    await system.settled();
    const [first, , third, fourth, fifth] = system.received("w").toSorted((a, b) => a.atMs - b.atMs);
    const again = new Map([fourth!, fifth!].map((request) => [request.headers["webhook-id"], request]));
    for (const request of [first!, third!].filter((r) => again.has(r.headers["webhook-id"]))) {
      expect(again.get(request.headers["webhook-id"])!.body.equals(request.body)).toBe(true);
    }
    expect(new Set(again.values()).size).toBe(2);
    expect([note(fourth!), note(fifth!)].toSorted()).toEqual(["a1", "a2"]);
    expect(await replayed()).toEqual([{ state: "done", deliveries: "2", queued: "2", skipped: "0" }]);
    expect(
      await system.look("select source, outcome from walhook.webhook_request_log where source = 'replay'"),
    ).toEqual(Array.from({ length: 2 }, () => ({ source: "replay", outcome: "delivered" })));
  });

  it("takes each delivery of a batch out of the first one's row, byte for byte", async () => {
    await system.webhook("w", "orders", "after_insert", { batch_size: 10 });
    await system.startBridge();
    await system.app("insert into orders select n, 'n' || n from generate_series(1, 12) n");
    await system.settled();
    const parts = (): Map<string, string> =>
      new Map(
        system
          .received("w")
          .flatMap(({ body }) =>
            (JSON.parse(body.toString()) as { id: string; payload: unknown }[]).map(
              ({ id, payload }): [string, string] => [id, JSON.stringify(payload)],
            ),
          ),
      );
    const before = parts();
    await system.admin("select walhook.replay('w', outcome => 'delivered', dry_run => false)");
    await eventually(async () => (await replayed())[0]?.["state"] === "done");
    await system.settled();
    expect(before.size).toBe(12);
    expect(parts()).toEqual(before);
    expect(
      await system.look("select count(*)::int as n from walhook.webhook_request_log where source = 'replay'"),
    ).toEqual([{ n: 12 }]);
  });

  it("counts what the log has not kept as not to be replayed, and says why", async () => {
    await system.webhook("w", "orders", "after_insert", { log_request_bytes: 10 });
    await system.startBridge();
    await system.app("insert into orders values (1, 'a1')");
    await system.settled();
    expect(
      await system.admin(
        "select replayable::int, not_replayable::int, reasons from walhook.replay('w', outcome => 'delivered')",
      ),
    ).toEqual([{ replayable: 0, not_replayable: 1, reasons: { "the log has not kept what was sent": 1 } }]);
  });

  it("keeps to its rate, goes on after a restart, and can be stopped", async () => {
    await system.webhook("w", "orders", "after_insert");
    const first = await system.startBridge();
    await system.app("insert into orders select n, 'n' || n from generate_series(1, 400) n");
    await system.settled();
    await system.admin("select walhook.replay('w', outcome => 'delivered', rate => 20, dry_run => false)");
    const startedMs = Date.now();
    await eventually(() => system.received("w").length >= 412);
    expect(Date.now() - startedMs).toBeGreaterThan(300);
    await first.stop();
    await system.startBridge();
    await eventually(() => system.received("w").length >= 420);
    await system.admin("select walhook.stop_replay(replay_id) from walhook.replay_progress");
    await eventually(async () => (await replayed())[0]?.["state"] === "stopped");
    await system.settled();
    expect(system.received("w").length).toBeLessThan(800);
  });

  it("ends with its webhook", async () => {
    await system.webhook("w", "orders", "after_insert");
    await system.startBridge();
    await system.app("insert into orders select n, 'n' || n from generate_series(1, 200) n");
    await system.settled();
    await system.admin("select walhook.replay('w', outcome => 'delivered', rate => 5, dry_run => false)");
    await eventually(() => system.received("w").length > 201);
    await system.admin("delete from walhook.webhook where name = 'w'");
    await eventually(async () => (await replayed())[0]?.["state"] === "stopped");
    expect(await system.look("select from walhook.replay_item")).toEqual([]);
  });

  it("is refused to who could not be the webhook's author", async () => {
    await system.webhook("w", "orders", "after_insert");
    await system.app(`revoke select on orders from "${system.roles.admin}"`);
    await expect(system.admin("select walhook.replay('w', outcome => 'delivered')")).rejects.toThrow(/may not read/);
  });
});
