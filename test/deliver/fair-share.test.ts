import { describe, expect, it } from "vitest";
import { mayOpen } from "../../src/deliver/fair-share.ts";

describe("one more request", () => {
  it("may be opened by whoever wants, up to the bound", () => {
    expect(mayOpen({ inAll: 99, own: 99, webhooks: 10 }, 100)).toBe(true);
    expect(mayOpen({ inAll: 100, own: 99, webhooks: 10 }, 100)).toBe(false);
  });
  it("may be opened beyond it by a webhook that has less than its share", () => {
    expect(mayOpen({ inAll: 180, own: 9, webhooks: 10 }, 100)).toBe(true);
    expect(mayOpen({ inAll: 180, own: 10, webhooks: 10 }, 100)).toBe(false);
  });
  it("may always be opened by a webhook that has none", () => {
    expect(mayOpen({ inAll: 5_000, own: 0, webhooks: 5_000 }, 100)).toBe(true);
    expect(mayOpen({ inAll: 5_000, own: 1, webhooks: 5_000 }, 100)).toBe(false);
  });
  it.each([1, 2, 7, 100, 1_000])(
    "leaves %i webhooks that take all they can at twice the bound, or at one each above it",
    (webhooks) => {
      const max = 100;
      const own = Array.from({ length: webhooks }, () => 0);
      let inAll = 0;
      for (let isMoving = true; isMoving;) {
        isMoving = false;
        for (const [index, count] of own.entries()) {
          // The first ones are greedy: they take all they can before the next one is asked.
          for (let mine = count; mayOpen({ inAll, own: mine, webhooks }, max); mine++) {
            own[index] = mine + 1;
            inAll++;
            isMoving = true;
          }
        }
      }
      expect(inAll).toBeLessThanOrEqual(max + Math.max(max, webhooks));
      expect(Math.min(...own)).toBeGreaterThanOrEqual(1);
    },
  );
});
