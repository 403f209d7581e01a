import { describe, expect, it } from "vitest";
import { TokenBucket } from "../../src/deliver/token-bucket.ts";

/** When each of so many requests goes, where each goes as soon as it may. */
function times(bucket: TokenBucket, count: number): number[] {
  const at: number[] = [];
  let nowMs = 0;
  while (at.length < count) {
    nowMs += bucket.msUntilToken(nowMs);
    bucket.take(nowMs);
    at.push(nowMs);
  }
  return at;
}

describe("a token bucket", () => {
  it("gives one at once, and then as many a second as it says", () => {
    expect(times(new TokenBucket(2, 0), 5)).toEqual([0, 500, 1_000, 1_500, 2_000]);
    expect(times(new TokenBucket(0.1, 0), 3)).toEqual([0, 10_000, 20_000]);
  });
  it.each([1, 7, 10, 100, 1_000])("lets no second see more than %i and a tenth of it", (perSecond) => {
    const at = times(new TokenBucket(perSecond, 0), perSecond * 4);
    for (const start of at) {
      const within = at.filter((ms) => ms >= start && ms < start + 1_000).length;
      expect(within).toBeLessThanOrEqual(Math.ceil(perSecond * 1.1) + 1);
    }
    expect(at.at(-1)).toBeLessThanOrEqual(4_400);
  });
  it("saves up a tenth of a second's while nothing is sent, and no more", () => {
    const bucket = new TokenBucket(100, 0);
    for (let count = 0; count < 10; count++) bucket.take(0);
    expect(bucket.msUntilToken(0)).toBe(10);
    expect(bucket.isFull(60_000)).toBe(true);
    for (let count = 0; count < 10; count++) bucket.take(60_000);
    expect(bucket.msUntilToken(60_000)).toBe(10);
  });
  it("gives nothing for a clock that is set back, and goes on from there", () => {
    const bucket = new TokenBucket(1, 10_000);
    bucket.take(10_000);
    expect(bucket.msUntilToken(5_000)).toBe(1_000);
    expect(bucket.msUntilToken(6_000)).toBe(0);
  });
});
