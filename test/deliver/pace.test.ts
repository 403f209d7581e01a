import { describe, expect, it } from "vitest";
import { Pace } from "../../src/deliver/pace.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";

const answered = (statusCode: number, headers: Readonly<Record<string, string>> = {}): TransportResult => ({
  kind: "response",
  statusCode,
  headers,
  body: "",
  durationMs: 1,
});
const broken: TransportResult = { kind: "failure", errorClass: "timeout", message: "", durationMs: 1 };
const limits = (pace: Pace, results: readonly TransportResult[]): number[] =>
  results.map((result) => {
    pace.note(result, 0);
    return pace.limit;
  });

describe("how many requests a receiver gets at once", () => {
  it("all it may have, though some fail", () => {
    const pace = new Pace(50);
    const some = [broken, broken, answered(200), answered(500), answered(200), answered(503)];
    expect(limits(pace, some)).toEqual([50, 50, 50, 50, 50, 50]);
  });
  it("one, after five failures in a row", () => {
    expect(limits(new Pace(50), [broken, answered(500), broken, answered(408), broken])).toEqual([50, 50, 50, 50, 1]);
  });
  it("is not lowered by requests that it refuses, since it reads them", () => {
    expect(
      limits(
        new Pace(50),
        [400, 401, 404, 422, 302, 413].map((status) => answered(status)),
      ).at(-1),
    ).toBe(50);
  });
  it("twice as many with each success, up to all", () => {
    const pace = new Pace(50);
    limits(pace, [broken, broken, broken, broken, broken]);
    expect(
      limits(
        pace,
        Array.from({ length: 7 }, () => answered(200)),
      ),
    ).toEqual([2, 4, 8, 16, 32, 50, 50]);
    expect(pace.isFull).toBe(true);
  });
  it("none, while it asks for a pause, then one", () => {
    const pace = new Pace(50);
    pace.note(answered(503, { "retry-after": "2" }), 1_000);
    expect([1_000, 2_999, 3_000].map((nowMs) => pace.pausedMs(nowMs))).toEqual([2_000, 1, 0]);
    expect(pace.limit).toBe(1);
  });
  it("a later answer does not shorten a pause", () => {
    const pace = new Pace(50);
    pace.note(answered(429, { "retry-after": "60" }), 0);
    pace.note(answered(429, { "retry-after": "1" }), 0);
    pace.note(answered(200), 0);
    expect(pace.pausedMs(0)).toBe(60_000);
  });
  it("none any more, after 410", () => {
    const pace = new Pace(50);
    pace.note(answered(410), 0);
    expect(pace.pausedMs(1e15)).toBe(Infinity);
  });
});
