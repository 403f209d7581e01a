import { describe, expect, it } from "vitest";
import { remember } from "../src/remember.ts";

describe("remember", () => {
  it("computes once while the argument stays the same, and anew when it changes, or changes back", () => {
    const computed: number[] = [];
    const double = remember((n: number) => computed.push(n) && 2 * n);
    expect([1, 1, 2, 2, 1].map(double)).toEqual([2, 2, 4, 4, 2]);
    expect(computed).toEqual([1, 2, 1]);
  });

  it("gives the very same object again, and remembers null like any other argument", () => {
    const wrap = remember((value: string | null) => ({ value }));
    expect(wrap(null)).toBe(wrap(null));
    expect(wrap("a")).not.toBe(wrap("b"));
  });
});
