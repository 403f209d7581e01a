import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("long_lanes");
  await system.app("create table orders (id int primary key, n int)");
});
afterEach(() => system.drop());

interface Body {
  readonly data: { readonly event: string; readonly name: string | null; readonly doc?: { readonly n: number } };
}
const seen = (request: ReceivedRequest): string => {
  const { event, name, doc } = (JSON.parse(request.body.toString()) as Body).data;
  return event === "on_truncate" ? "truncate" : `${name}:${doc?.n}`;
};
const arrivals = (): string[] => system.received("w").map(seen);
const queued = async (): Promise<number> =>
  (await system.look("select count(*)::int as n from walhook.webhook_queue"))[0]!["n"] as number;
/** Changes of a few documents, one after the other, while nothing can be delivered. */
async function park(statements: readonly string[], more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  await system.webhook("w", "orders", "after_insert, on_update, on_truncate", { enabled: true, ...more });
  const bridge = await system.startBridge({ graceMs: 10 });
  await system.admin("update walhook.webhook set request_url = 'http://127.0.0.1:1/'");
  for (const statement of statements) await system.app(statement);
  await system.caughtUp();
  await bridge.stop();
}
async function mend(): Promise<void> {
  await system.admin("update walhook.webhook set request_url = $1", [`${system.receiver.url}/w`]);
  await system.look("update walhook.webhook_queue set due_at = now() where due_at is not null and not is_dead");
}

describe("a long lane of the queue", () => {
  it("drains in order, its deliveries going out behind each other without a checkpoint between any two", async () => {
    const changes = Array.from({ length: 60 }, (_, n) => `update orders set n = ${n + 1}`);
    await park(["insert into orders select id, 0 from generate_series(1, 3) id", ...changes]);
    expect(await queued()).toBe(3 * 61);
    await mend();
    await system.startBridge();
    await system.settled();
    for (const id of [1, 2, 3]) {
      const expected = Array.from({ length: 61 }, (_, n) => `${id}:${n}`);
      expect(arrivals().filter((arrival) => arrival.startsWith(`${id}:`))).toEqual(expected);
    }
    expect(
      await system.look("select count(*)::int as n from walhook.webhook_request_log where outcome = 'delivered'"),
    ).toEqual([{ n: 3 * 61 }]);
  });

  it("stops at a failure: nothing behind it goes out before it does", async () => {
    await park(
      ["insert into orders values (1, 0)", ...Array.from({ length: 30 }, (_, n) => `update orders set n = ${n + 1}`)],
      { retry_schedule: "{50 ms, 50 ms, 50 ms, 50 ms, 50 ms, 50 ms, 50 ms, 50 ms, 50 ms, 50 ms}" },
    );
    let failures = 3;
    system.receiver.answer((request) => (seen(request) === "1:7" && failures-- > 0 ? { status: 500 } : {}));
    await mend();
    await system.startBridge();
    await system.settled();
    const expected = Array.from({ length: 31 }, (_, n) => `1:${n}`);
    expect(arrivals()).toEqual([...expected.slice(0, 7), "1:7", "1:7", "1:7", ...expected.slice(7)]);
  });

  it("is not followed across a change of the key, nor across a TRUNCATE", async () => {
    await park([
      "insert into orders values (1, 0), (2, 0)",
      "update orders set n = 1",
      "update orders set id = 3, n = 2 where id = 1",
      "update orders set n = 3 where id = 3",
      "insert into orders values (1, 4)",
      "update orders set n = 5 where id = 1",
      "truncate orders",
      "insert into orders values (1, 6), (2, 6)",
    ]);
    await mend();
    await system.startBridge();
    await system.settled();
    const all = arrivals();
    expect(all.filter((arrival) => /^[13]:/.test(arrival))).toEqual(
      ["1:0", "1:1", "3:2", "3:3", "1:4", "1:5", "1:6"].toSorted((a, b) => all.indexOf(a) - all.indexOf(b)),
    );
    const before = (first: string, second: string): void =>
      expect(all.indexOf(first), `${first} before ${second}`).toBeLessThan(all.indexOf(second));
    for (const [first, second] of [
      ["1:0", "1:1"],
      ["1:1", "3:2"],
      ["3:2", "3:3"],
      ["3:2", "1:4"],
      ["1:4", "1:5"],
      ["3:3", "truncate"],
      ["1:5", "truncate"],
      ["2:1", "truncate"],
      ["truncate", "1:6"],
      ["truncate", "2:6"],
    ] as const) {
      before(first, second);
    }
  });

  it("goes on in order in the next bridge when this one is stopped amid it", async () => {
    await park([
      "insert into orders values (1, 0)",
      ...Array.from({ length: 40 }, (_, n) => `update orders set n = ${n + 1}`),
    ]);
    await mend();
    system.receiver.answer({ delayMs: 5 });
    const first = await system.startBridge({ drainMs: 100 });
    await eventually(() => arrivals().length >= 10);
    await first.stop();
    await system.startBridge();
    await system.settled();
    expect([...new Set(arrivals())]).toEqual(Array.from({ length: 41 }, (_, n) => `1:${n}`));
  });
});
