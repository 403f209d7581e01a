import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  begin,
  CLOSED,
  limitOf,
  msUntilSettled,
  note,
  openMsLeft,
  settle,
  type Breaker,
} from "../../src/deliver/breaker.ts";
import { DEFAULT_RETRY_SCHEDULE_MS } from "../../src/deliver/retry.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";

const answered = (statusCode: number, headers: Readonly<Record<string, string>> = {}): TransportResult => ({
  kind: "response",
  statusCode,
  headers,
  body: "",
  durationMs: 1,
});
const ok = answered(200);
const broken: TransportResult = { kind: "failure", errorClass: "timeout", message: "", durationMs: 1 };
const blocked: TransportResult = { kind: "failure", errorClass: "blocked_address", message: "", durationMs: 1 };
const MINUTE = 60_000;
const AT = { nowMs: 0, scheduleMs: DEFAULT_RETRY_SCHEDULE_MS, attempts: 1, maxSending: 50 };

const after = (breaker: Breaker, results: readonly TransportResult[], at = AT): Breaker =>
  results.reduce<Breaker>((state, result) => note(state, result, at), breaker);
const times = (count: number, result: TransportResult): TransportResult[] =>
  Array.from({ length: count }, () => result);
const OPEN = after(CLOSED, times(5, broken));
const trial = (breaker: Breaker, result: TransportResult, nowMs: number): Breaker =>
  note(begin(breaker), result, { ...AT, nowMs });

describe("a closed breaker opens", () => {
  it("after five failures in a row: no answer, 408, 429, 5xx", () => {
    const failures = [broken, answered(500), answered(408), answered(429), answered(599)];
    expect(after(CLOSED, failures.slice(0, 4))).toMatchObject({ kind: "closed", failuresInRow: 4, limit: Infinity });
    expect(after(CLOSED, failures)).toMatchObject({ kind: "open", openings: 1 });
  });
  it("when half of ten attempts within a minute failed", () => {
    const mixed = Array.from({ length: 9 }, (_, n) => (n % 2 === 0 ? broken : ok));
    expect(after(CLOSED, mixed).kind).toBe("closed");
    expect(after(CLOSED, [...mixed, broken]).kind).toBe("open");
    const slowly = [...mixed, broken].reduce<Breaker>(
      (state, result, n) => note(state, result, { ...AT, nowMs: n * 10_000 }),
      CLOSED,
    );
    expect(slowly.kind).toBe("closed");
  });
  it("not for what the receiver refuses: it has read it", () => {
    const refusals = [400, 401, 404, 410, 413, 422, 302].map((status) => answered(status));
    expect(after(CLOSED, [...refusals, ...refusals])).toBe(CLOSED);
  });
  it("not for what we refuse to send", () => {
    expect(after(CLOSED, times(50, blocked))).toBe(CLOSED);
  });
  it("for no longer than it says, also where the clock is set back by an hour meanwhile", () => {
    const open = after(CLOSED, times(5, broken), { ...AT, nowMs: 2 * 3_600_000 });
    expect(openMsLeft(open, 2 * 3_600_000)).toBeGreaterThan(0);
    expect(openMsLeft(open, 2 * 3_600_000 - 1_000)).toBeGreaterThan(0);
    expect(openMsLeft(open, 3_600_000)).toBe(0);
  });
  it("and forgets failures when something succeeds, and the last minute when it is over", () => {
    expect(after(CLOSED, [...times(4, broken), ok, ...times(4, broken)]).kind).toBe("closed");
    expect(note(after(CLOSED, [broken, ok]), ok, { ...AT, nowMs: MINUTE })).toBe(CLOSED);
  });
});

describe("an open breaker", () => {
  it("is open at first until the delivery at hand is due again, at most 30 s", () => {
    const first = (attempts: number, scheduleMs = AT.scheduleMs): number =>
      openMsLeft(after(CLOSED, times(5, broken), { ...AT, attempts, scheduleMs }), 0);
    expect([first(1), first(2), first(3), first(11)]).toEqual([5_000, 30_000, 30_000, 30_000]);
    expect([first(1, [50, 100]), first(3, [50, 100]), first(1, [])]).toEqual([50, 100, 0]);
  });
  it("is open twice as long each time its probe fails, up to 15 minutes and the longest delay of the schedule", () => {
    const lengths = (scheduleMs: readonly number[]): number[] => {
      let breaker = after(CLOSED, times(5, broken), { ...AT, scheduleMs });
      return Array.from({ length: 10 }, () => {
        const { openMs } = breaker as Breaker & { kind: "open" };
        breaker = note(begin(breaker), broken, { ...AT, scheduleMs });
        return openMs / 1_000;
      });
    };
    expect(lengths(AT.scheduleMs)).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    expect(lengths([5_000, MINUTE])).toEqual([5, 10, 20, 40, 60, 60, 60, 60, 60, 60]);
  });
  it("is open as long as the receiver asks, at once, and a later answer does not shorten it", () => {
    const asked = after(CLOSED, [answered(503, { "retry-after": "120" })]);
    expect(asked).toMatchObject({ kind: "open", openings: 0, untilMs: 120_000 });
    expect(openMsLeft(after(asked, [answered(429, { "retry-after": "1" }), ok, broken]), 0)).toBe(120_000);
    expect(openMsLeft(after(asked, [answered(429, { "retry-after": "300" })]), 0)).toBe(300_000);
    expect(after(CLOSED, [answered(503, { "retry-after": "0" })]).kind).toBe("closed");
  });
  it("is not changed by the ends of what began before", () => {
    expect(after(OPEN, [ok, broken, answered(500), answered(404)])).toBe(OPEN);
  });
  it("becomes half open when a request begins", () => {
    expect(limitOf(OPEN)).toBe(1);
    expect(begin(OPEN)).toMatchObject({ kind: "half_open", answers: 0, openings: 1 });
    expect(begin(CLOSED)).toBe(CLOSED);
  });
});

describe("a half open breaker", () => {
  it("lets one request out, then two, then four, and closes after three answers, to go on doubling", () => {
    let breaker = begin(OPEN);
    const limits = Array.from({ length: 8 }, () => {
      const limit = limitOf(breaker);
      breaker = note(breaker, ok, AT);
      return limit;
    });
    expect(limits).toEqual([1, 2, 4, 8, 16, 32, Infinity, Infinity]);
    expect(breaker).toBe(CLOSED);
  });
  it("opens again at the first failure", () => {
    expect(after(begin(OPEN), [ok, ok, broken])).toMatchObject({ kind: "open", openings: 2 });
  });
  it("goes on probing when what it tried was not sent", () => {
    expect(after(begin(OPEN), [blocked])).toEqual(begin(OPEN));
  });
  it("closes a minute after an answer, when nothing more is there to be sent", () => {
    const breaker = trial(OPEN, ok, 10_000);
    expect([msUntilSettled(breaker, 10_000), msUntilSettled(begin(OPEN), 10_000)]).toEqual([MINUTE, Infinity]);
    expect(settle(breaker, 69_999)).toBe(breaker);
    expect(settle(breaker, 70_000)).toBe(CLOSED);
  });
});

/** A desk in small: it begins what the breaker allows, and ends what is under way in any order. */
interface World {
  breaker: Breaker;
  nowMs: number;
  /** For each request under way, whether it began while the breaker was not closed. */
  sending: boolean[];
}

describe("whatever happens", () => {
  const results: readonly TransportResult[] = [
    ok,
    broken,
    answered(500),
    answered(404),
    answered(503, { "retry-after": "20" }),
    blocked,
  ];
  const step = fc.record({
    waitMs: fc.constantFrom(0, 1, 100, 5_000, MINUTE),
    act: fc.constantFrom("begin", "begin", "end", "end", "settle"),
    which: fc.nat(),
    result: fc.constantFrom(...results),
    attempts: fc.integer({ min: 1, max: 5 }),
  });
  const schedule = fc.array(fc.constantFrom(0, 50, 5_000, 30_000, 300_000, 86_400_000), { maxLength: 4 });

  it("there are never two probes, and it is never open longer than the longest delay of the schedule, or 15 minutes, unless asked", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), schedule, (steps, scheduleMs) => {
        const world: World = { breaker: CLOSED, nowMs: 0, sending: [] };
        for (const { waitMs, act, which, result, attempts } of steps) {
          world.nowMs += waitMs;
          const { breaker, sending, nowMs } = world;
          if (act === "settle") world.breaker = settle(breaker, nowMs);
          else if (act === "end" && sending.length > 0) {
            sending.splice(which % sending.length, 1);
            world.breaker = note(breaker, result, { nowMs, scheduleMs, attempts, maxSending: 50 });
          } else if (act === "begin" && openMsLeft(breaker, nowMs) === 0 && sending.length < limitOf(breaker)) {
            world.breaker = begin(breaker);
            sending.push(breaker.kind !== "closed");
            if (world.breaker.kind === "half_open" && world.breaker.answers === 0) expect(sending).toHaveLength(1);
          }
          const longestMs = Math.min(15 * MINUTE, Math.max(0, ...scheduleMs));
          const left = openMsLeft(world.breaker, nowMs);
          expect(left).toBeLessThanOrEqual(Math.max(longestMs, 20_000));
          if (world.breaker.kind === "open") expect(world.breaker.openMs).toBeLessThanOrEqual(longestMs);
        }
      }),
    );
  });

  it("enough answers close it", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...results), { maxLength: 50 }), (history) => {
        const breaker = after(CLOSED, history);
        expect(after(begin(breaker), times(20, ok), { ...AT, nowMs: 10 * MINUTE })).toBe(CLOSED);
      }),
    );
  });
});
