import { describe, expect, it } from "vitest";
import { pauseMs, retryAfterMs } from "../../src/deliver/retry-after.ts";
import type { TransportResult } from "../../src/deliver/transport.ts";

const NOW = Date.parse("2026-11-24T12:00:00Z");
const answer = (retryAfter: string, statusCode = 503): TransportResult => ({
  kind: "response",
  statusCode,
  headers: { "retry-after": retryAfter },
  body: "",
  durationMs: 1,
});

describe("Retry-After", () => {
  it.each([
    ["0", 0],
    ["120", 120_000],
    [" 7 ", 7_000],
    ["Tue, 24 Nov 2026 12:00:30 GMT", 30_000],
    ["Tuesday, 24-Nov-26 12:00:30 GMT", 30_000],
    ["Tue Nov 24 12:00:30 2026", 30_000],
  ])("%j is %d ms", (text, ms) => {
    expect(retryAfterMs(answer(text), NOW)).toBe(ms);
  });
  it("in the past asks for nothing", () => {
    expect(retryAfterMs(answer("Tue, 24 Nov 2026 11:00:00 GMT"), NOW)).toBe(0);
  });
  it.each(["99999999", "Tue, 24 Nov 2099 12:00:00 GMT", "9".repeat(400)])("%s is a day, and no longer", (text) => {
    expect(retryAfterMs(answer(text), NOW)).toBe(86_400_000);
  });
  it.each(["", "soon", "-5", "1.5", "1e3", "2026-11-24T12:00:30Z", "Tue, 99 Foo 2026 12:00:30 GMT"])(
    "%j, which is neither form, is not heeded",
    (text) => {
      expect(retryAfterMs(answer(text), NOW)).toBeNull();
    },
  );
  it("of an overloaded receiver (429, 503) holds everything for it, of other failures the delivery alone", () => {
    expect([429, 503, 500, 404].map((status) => pauseMs(answer("5", status), NOW))).toEqual([5_000, 5_000, null, null]);
  });
});
