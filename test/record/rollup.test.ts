import { describe, expect, it } from "vitest";
import type { AttemptRecord } from "../../src/deliver/attempt-record.ts";
import { bucketOf, rollUp } from "../../src/record/rollup.ts";

const MINUTE = Date.UTC(2026, 10, 24, 12, 34);

function record(over: Partial<Omit<AttemptRecord, "delivery">> & { readonly source?: string } = {}): AttemptRecord {
  const { source = "live", ...fields } = over;
  return {
    delivery: { webhookId: 7, webhookName: "w", source, commitTimeUs: BigInt(MINUTE) * 1000n },
    outcome: "delivered",
    sentAtMs: MINUTE + 10,
    durationMs: 5,
    errorClass: null,
    host: "example.com:8443",
    requestBytes: 100,
    ...fields,
  } as unknown as AttemptRecord;
}

describe("what a checkpoint counts", () => {
  it("is one row a minute, webhook, outcome, error class and host", () => {
    const rows = rollUp([
      record(),
      record({ sentAtMs: MINUTE + 59_999 }),
      record({ sentAtMs: MINUTE + 60_000 }),
      record({ outcome: "retry", errorClass: "timeout" }),
      record({ host: "other" }),
      record({ host: "", durationMs: null, requestBytes: null, outcome: "undecidable" }),
    ]);
    expect(
      rows.map((row) => [(row.minuteMs - MINUTE) / 60_000, row.outcome, row.errorClass, row.host, row.rows]),
    ).toEqual([
      [0, "delivered", "", "example.com:8443", 2],
      [1, "delivered", "", "example.com:8443", 1],
      [0, "retry", "timeout", "example.com:8443", 1],
      [0, "delivered", "", "other", 1],
      [0, "undecidable", "", "", 1],
    ]);
    expect(rows[0]).toMatchObject({ webhookId: 7, webhookName: "w", requestBytes: 200 });
  });

  it("has the duration of every attempt, and the time from the commit of what was delivered alone", () => {
    const [delivered, retried] = rollUp([record(), record(), record({ outcome: "retry" })]);
    expect([...delivered!.duration]).toEqual([[bucketOf(5), 2]]);
    expect([...delivered!.receipt]).toEqual([[bucketOf(15), 2]]);
    expect([...retried!.duration]).toEqual([[bucketOf(5), 1]]);
    expect(retried!.receipt.size).toBe(0);
  });

  it("has of a replay its duration, and no time from the commit, which is long ago", () => {
    const [delivered] = rollUp([record(), record({ source: "replay" })]);
    expect(delivered).toMatchObject({ rows: 2, duration: new Map([[bucketOf(5), 2]]) });
    expect([...delivered!.receipt]).toEqual([[bucketOf(15), 1]]);
  });

  it("leaves tests out", () => {
    expect(rollUp([record({ source: "test" })])).toEqual([]);
  });
});

describe("a bucket", () => {
  it("is at most 2 % wide: its middle is within 1 % of each value", () => {
    for (let ms = 0.0101; ms < 300_000_000; ms *= 1.0037) {
      const middle = 1.02 ** (bucketOf(ms) - 0.5);
      expect(Math.abs(middle - ms) / ms).toBeLessThan(0.01);
    }
  });

  it("takes what is too short, zero or negative into the lowest one, and fits into a smallint", () => {
    expect([0, -5, 1e-9, Number.NEGATIVE_INFINITY].map(bucketOf)).toEqual([-233, -233, -233, -233]);
    expect(bucketOf(Number.MAX_VALUE)).toBeLessThan(32_767 * 2);
    expect(bucketOf(1e15)).toBeLessThan(32_767);
  });
});
