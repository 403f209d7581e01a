import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("batches");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

interface Event {
  readonly id: string;
  readonly payload: { readonly data: { readonly name: string; readonly doc: { readonly note: string } } };
}
const eventsOf = ({ body }: ReceivedRequest): readonly Event[] => JSON.parse(body.toString()) as Event[];
const noteOf = ({ payload }: Event): string => payload.data.doc.note;
const sizes = (): number[] => system.received("w").map((request) => eventsOf(request).length);
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

describe("a webhook with a batch_size", () => {
  it("sends one event at once when nothing is under way, and many together when busy, none twice", async () => {
    await system.webhook("w", "orders", "after_insert", { batch_size: 100 });
    system.receiver.answer({ delayMs: 30 });
    await system.startBridge();
    await system.app("insert into orders values (0, 'alone')");
    await eventually(() => sizes().length === 1);
    await system.app("insert into orders select n, 'n' || n from generate_series(1, 1000) n");
    await system.settled();
    expect(sizes()[0]).toBe(1);
    expect(Math.max(...sizes())).toBe(100);
    expect(sizes().length).toBeLessThan(30);
    const ids = system.received("w").flatMap((request) => eventsOf(request).map(({ id }) => id));
    expect(ids.length).toBe(1001);
    expect(new Set(ids).size).toBe(1001);
    const log = await system.look(
      `select count(*)::int as rows, count(distinct delivery_id)::int as deliveries, count(distinct request_id)::int as requests,
         count(request_body)::int as bodies, count(response_body)::int as answers, min(outcome) as outcome
       from walhook.webhook_request_log`,
    );
    const requests = sizes().length;
    expect(log).toEqual([
      { rows: 1001, deliveries: 1001, requests, bodies: requests, answers: requests, outcome: "delivered" },
    ]);
  });

  it("keeps all changes of a document in order, within a batch and over several", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", { batch_size: 7 });
    system.receiver.answer({ delayMs: 5 });
    await system.startBridge();
    await system.app("insert into orders select n, '0' from generate_series(1, 5) n");
    for (let change = 1; change <= 40; change++) await system.app("update orders set note = $1", [String(change)]);
    await system.settled();
    for (let id = 1; id <= 5; id++) {
      const notes = system
        .received("w")
        .flatMap(eventsOf)
        .filter(({ payload }) => payload.data.name === String(id))
        .map(noteOf);
      expect(notes).toEqual(Array.from({ length: 41 }, (_, n) => String(n)));
    }
    expect(sizes().length).toBeLessThan(150);
  });

  it("of what the queue has holds nothing live, so each comes again as the same batch", async () => {
    await system.app("create table others (id int primary key)");
    await system.webhook("w", "orders", "after_insert", {
      batch_size: 10,
      batch_window: "1 s",
      retry_schedule: "{200 ms, 200 ms, 200 ms, 200 ms, 200 ms}",
    });
    await system.webhook("slow", "others", "after_insert");
    let isDown = true;
    const waiting: (() => void)[] = [];
    system.receiver.answer(({ path, body }) =>
      path === "/slow" || body.includes("first")
        ? { until: new Promise<void>((resolve) => waiting.push(resolve)) }
        : { status: isDown ? 500 : 200 },
    );
    // A chunk that stays open: what comes behind it has no row in the queue for so long.
    await system.startBridge({ graceMs: 8_000 });
    const inQueue = (count: number) =>
      eventually(async () => (await system.look("select from walhook.webhook_queue")).length === count);
    await system.admin("select walhook.pause('w')");
    await system.app("insert into orders values (0, 'first' || repeat('x', 1100000))");
    await inQueue(1);
    await system.app("insert into orders values (1, 'queued')");
    await inQueue(2);
    await system.app("insert into others values (1)");
    await eventually(() => waiting.length === 1);
    await system.admin("select walhook.resume('w')");
    await eventually(() => waiting.length === 2);
    await system.app("insert into orders values (2, 'live')");
    const idsOf = (text: string): Set<string> =>
      new Set(
        system
          .received("w")
          .filter(({ body }) => body.includes(text))
          .map(({ headers }) => headers["webhook-id"]!),
      );
    await eventually(() => system.received("w").length >= 5);
    isDown = false;
    for (const answer of waiting) answer();
    await system.settled();
    expect([idsOf("queued").size, idsOf("live").size]).toEqual([1, 1]);
  });

  it("signs the whole, under an id of the batch's own", async () => {
    await system.webhook("w", "orders", "after_insert", {
      batch_size: 10,
      enable_security: true,
      webhook_secret: secret,
    });
    await system.startBridge();
    await system.app("insert into orders select n, 'é' from generate_series(1, 10) n");
    await system.settled();
    for (const { body, headers } of system.received("w")) {
      expect(headers["webhook-id"]).toMatch(/^bat_[0-9a-f]{40}$/);
      expect(() => new Webhook(secret).verify(body.toString(), headers)).not.toThrow();
    }
  });

  it("tries a failed batch again as the same batch: id and bytes, also in the next bridge after a crash", async () => {
    await system.webhook("w", "orders", "after_insert, on_update", {
      batch_size: 20,
      retry_schedule: "{300 ms, 300 ms, 300 ms, 1 h}",
    });
    let isDown = true;
    system.receiver.answer(() => (isDown ? { status: 500 } : {}));
    const first = await system.startBridge({ graceMs: 50 });
    await system.app(
      "insert into orders select n, 'first' from generate_series(1, 50) n; update orders set note = 'second'",
    );
    await eventually(
      async () => (await system.look("select from walhook.webhook_request_log where outcome = 'retry'")).length > 0,
    );
    await system.caughtUp();
    await first.stop();
    isDown = false;
    await system.startBridge({ graceMs: 50 });
    await system.settled();
    const requests = system.received("w");
    const bodies = new Map<string, Set<string>>();
    for (const { headers, body } of requests) {
      const id = headers["webhook-id"]!;
      bodies.set(id, (bodies.get(id) ?? new Set()).add(body.toString()));
    }
    for (const [id, seen] of bodies) expect(seen.size, id).toBe(1);
    const delivered = await system.look(
      "select request_id, min(attempt)::int as attempt from walhook.webhook_request_log where outcome = 'delivered' group by 1",
    );
    const failed = await system.look(
      "select distinct request_id from walhook.webhook_request_log where outcome = 'retry'",
    );
    // Each batch that failed was delivered as itself.
    const ids = new Set(delivered.map((row) => row["request_id"]));
    for (const row of failed) expect(ids).toContain(row["request_id"]);
    const names = new Map<string, string[]>();
    for (const event of requests.filter((_, at) => at >= requests.length - delivered.length).flatMap(eventsOf)) {
      const { name } = event.payload.data;
      names.set(name, [...(names.get(name) ?? []), noteOf(event)]);
    }
    for (const notes of names.values()) expect(notes.at(-1)).toBe("second");
  });

  it("waits for others no longer than batch_window, while a request is under way", async () => {
    await system.webhook("w", "orders", "after_insert", { batch_size: 100, batch_window: "100 ms", timeout: "20 s" });
    system.receiver.answer(() => (sizes().length === 1 ? { delayMs: 3_000 } : {}));
    await system.startBridge();
    await system.app("insert into orders values (1, 'slow')");
    await eventually(() => sizes().length === 1);
    await system.app("insert into orders values (2, 'a')");
    await system.app("insert into orders values (3, 'b')");
    await eventually(() => sizes().length === 2, { withinMs: 2_500 });
    expect(sizes()).toEqual([1, 2]);
    await system.settled();
  });

  it("becomes dead letters together, which can be replayed as the same batch", async () => {
    await system.webhook("w", "orders", "after_insert", { batch_size: 5, retry_schedule: "{}" });
    system.receiver.answer({ status: 500 });
    await system.startBridge();
    await system.app("insert into orders select n, 'n' from generate_series(1, 5) n");
    await eventually(async () => (await system.look("select from walhook.dead_letter")).length === 5);
    const ids = (): (string | undefined)[] => system.received("w").map(({ headers }) => headers["webhook-id"]);
    const before = ids();
    system.receiver.answer({});
    await system.admin("select walhook.replay_dead_letters('w')");
    await system.settled();
    expect(new Set(ids().slice(before.length))).toEqual(new Set(before));
  });
});
