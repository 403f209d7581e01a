import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideRetry, DEFAULT_RETRY_SCHEDULE_MS } from "../../src/deliver/retry.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";

const answered = (statusCode: number, headers: Readonly<Record<string, string>> = {}): TransportResult => ({
  kind: "response",
  statusCode,
  headers,
  body: "",
  durationMs: 1,
});
const broken: TransportResult = { kind: "failure", errorClass: "reset", message: "", durationMs: 1 };
const options = { scheduleMs: [1_000, 60_000], nowMs: 0, random: 0 };

describe("after an attempt", () => {
  it.each([200, 201, 204, 299])("%i is success", (status) => {
    expect(decideRetry(answered(status), 1, options)).toEqual({ kind: "delivered" });
  });
  it.each([301, 302, 304, 400, 401, 403, 404, 408, 409, 425, 429, 500, 503])("%i is tried again", (status) => {
    expect(decideRetry(answered(status), 1, options)).toEqual({ kind: "retry", dueAtMs: 1_000 });
  });
  it("410 Gone is the end for the webhook, at any attempt", () => {
    expect(decideRetry(answered(410), 1, options)).toEqual({ kind: "gone" });
    expect(decideRetry(answered(410), 99, options)).toEqual({ kind: "gone" });
  });
  it.each([400, 413, 414, 415, 422])("%i, which the same bytes meet again, gets three attempts in all", (status) => {
    const long = { ...options, scheduleMs: [1, 2, 3, 4, 5] };
    expect([1, 2, 3].map((attempt) => decideRetry(answered(status), attempt, long).kind)).toEqual([
      "retry",
      "retry",
      "dead",
    ]);
    expect(decideRetry(answered(status), 2, { ...options, scheduleMs: [1] })).toEqual({ kind: "dead" });
  });
  it("a receiver that asks for more time than the schedule gives gets it, on any failure", () => {
    const asks = (statusCode: number, seconds: string) => answered(statusCode, { "retry-after": seconds });
    expect(decideRetry(asks(503, "30"), 1, options)).toEqual({ kind: "retry", dueAtMs: 30_000 });
    expect(decideRetry(asks(404, "30"), 1, options)).toEqual({ kind: "retry", dueAtMs: 30_000 });
    expect(decideRetry(asks(503, "30"), 2, options)).toEqual({ kind: "retry", dueAtMs: 60_000 });
  });
  it("a failed connection is tried again, by the schedule", () => {
    expect(decideRetry(broken, 2, options)).toEqual({ kind: "retry", dueAtMs: 60_000 });
  });
  it("a delivery is dead when its schedule is used up", () => {
    expect(decideRetry(broken, 3, options)).toEqual({ kind: "dead" });
  });
  it("no attempt comes earlier than promised, nor more than a fifth later", () => {
    fc.assert(
      fc.property(fc.nat(9), fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(1e12), (step, random, nowMs) => {
        const decision = decideRetry(broken, step + 1, { scheduleMs: DEFAULT_RETRY_SCHEDULE_MS, nowMs, random });
        const delayMs = DEFAULT_RETRY_SCHEDULE_MS[step]!;
        expect(decision.kind).toBe("retry");
        const waitMs = decision.kind === "retry" ? decision.dueAtMs - nowMs : 0;
        expect(waitMs).toBeGreaterThanOrEqual(delayMs);
        expect(waitMs).toBeLessThanOrEqual(Math.ceil(delayMs * 1.2));
      }),
    );
  });
  it("the default schedule goes on for three days", () => {
    const hours = DEFAULT_RETRY_SCHEDULE_MS.reduce((sum, ms) => sum + ms, 0) / 3_600_000;
    expect(Math.round(hours)).toBe(76);
  });
});
