import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { begin, CLOSED, note, type Breaker } from "../../src/deliver/breaker.ts";
import { HealthBook } from "../../src/deliver/health-book.ts";
import { Health } from "../../src/deliver/health.ts";
import type { WebhookDefinition } from "../../src/db/schema.ts";
import { InForce } from "../../src/match/in-force.ts";
import type { Webhook } from "../../src/match/webhook.ts";

const DAY = 86_400_000;
const OPEN: Breaker = { kind: "open", sinceMs: 0, untilMs: 5_000, openMs: 5_000, openings: 1 };

const inForce = (enabled: boolean): InForce =>
  new InForce(
    new Map<number, WebhookDefinition>([
      [1, { webhook: { id: "1", enabled: enabled ? "t" : "f" }, headers: [], data: [] }],
    ]),
  );
const webhook = inForce(true).webhooks.get(1) as Webhook;

interface World {
  readonly book: HealthBook;
  readonly health: Health;
  /** What was written, in order. */
  readonly written: (readonly [state: string, failures: number])[];
}

function world(): World {
  const health = new Health();
  const written: (readonly [string, number])[] = [];
  const book = new HealthBook({
    known: new Map([[1, health]]),
    write: async (news) => {
      for (const { state, failures } of news.values()) written.push([state, failures]);
      return [];
    },
    onFailure: (error) => {
      throw error;
    },
  });
  return { book, health, written };
}
const fail = ({ book }: World, times: number, breaker: Breaker = CLOSED, nowMs = 0): (string | null)[] =>
  Array.from({ length: times }, () => book.failed(webhook, breaker, "HTTP 500", nowMs));

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("how a webhook does is written", () => {
  it("while all goes well every ten seconds that something is delivered, and not at all while nothing is", async () => {
    const { book, written } = world();
    for (let ms = 0; ms < 30_000; ms += 10) book.delivered(1, CLOSED, ms);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(written.length).toBe(2);
    await vi.advanceTimersByTimeAsync(DAY);
    expect(written.length).toBe(2);
  });

  it("while something fails once a second, the last time too", async () => {
    const w = world();
    for (let ms = 0; ms < 4_000; ms += 100) {
      fail(w, 1, CLOSED, ms);
      await vi.advanceTimersByTimeAsync(100);
    }
    await vi.advanceTimersByTimeAsync(5_000);
    // The fifth makes it a failing one, which is told at once.
    expect(w.written).toEqual([
      ["ok", 1],
      ["failing", 5],
      ["failing", 14],
      ["failing", 24],
      ["failing", 34],
      ["failing", 40],
    ]);
  });

  it("also what is new when the bridge stops", async () => {
    const w = world();
    fail(w, 1);
    fail(w, 2);
    await w.book.close();
    expect(w.written.at(-1)).toEqual(["ok", 3]);
  });
});

describe("a webhook", () => {
  it("is failing after five failures in a row, and ok at the next success", () => {
    const w = world();
    fail(w, 4);
    expect(w.health.state).toBe("ok");
    fail(w, 1);
    expect(w.health.state).toBe("failing");
    w.book.delivered(1, CLOSED, 0);
    expect(w.health).toMatchObject({ state: "ok", failures: 0, firstFailureAtMs: null });
  });

  it("is opened when its breaker opens, but not for a pause that its receiver asked for; and ok when it has closed", () => {
    const w = world();
    fail(w, 1, { ...OPEN, openings: 0 });
    expect(w.health.state).toBe("ok");
    fail(w, 1, OPEN);
    expect(w.health.state).toBe("opened");
    const at = { nowMs: 0, scheduleMs: [5_000], attempts: 1, maxSending: 4 };
    const answer = { kind: "response", statusCode: 200, headers: {}, body: "", durationMs: 1 } as const;
    let breaker = begin(OPEN);
    const states = Array.from({ length: 3 }, () => {
      breaker = note(breaker, answer, at);
      w.book.delivered(1, breaker, 0);
      return w.health.state;
    });
    expect(states).toEqual(["opened", "opened", "ok"]);
  });

  it("is ok when its breaker closes by time, and not merely since it was changed", () => {
    const w = world();
    fail(w, 1, OPEN);
    w.book.reconfigure(inForce(true), inForce(true), [1]);
    expect(w.health).toMatchObject({ state: "opened", breaker: CLOSED, failures: 1 });
    w.book.delivered(1, { ...begin(OPEN) }, 0);
    w.book.settled(1);
    expect(w.health).toMatchObject({ state: "ok", breaker: CLOSED });
  });

  it("has to be disabled after its days without a success, and at least twenty failures", () => {
    const w = world();
    expect(fail(w, 1, CLOSED, 0)).toEqual([null]);
    expect(fail(w, 18, CLOSED, 6 * DAY).filter(Boolean)).toEqual([]);
    expect(fail(w, 1, CLOSED, 6 * DAY)[0]).toBe(
      "none of its 20 attempts since 1970-01-01T00:00:00.000Z has succeeded, the last one: HTTP 500",
    );
    w.book.disabled(1);
    expect(fail(w, 1, CLOSED, 7 * DAY)).toEqual([null]);
    const other = world();
    expect(fail(other, 100, CLOSED, 0).filter(Boolean)).toEqual([]);
    expect(other.book.failed({ ...webhook, disableAfterMs: null }, CLOSED, "", 400 * DAY)).toBeNull();
  });

  it("begins anew when it is enabled again", () => {
    const w = world();
    fail(w, 30, OPEN);
    w.book.disabled(1);
    w.book.reconfigure(inForce(true), inForce(false), [1]);
    expect(w.health).toMatchObject({ state: "disabled", failures: 30 });
    w.book.reconfigure(inForce(false), inForce(true), [1]);
    expect(w.health).toMatchObject({ state: "ok", failures: 0, firstFailureAtMs: null, breaker: CLOSED });
  });
});
