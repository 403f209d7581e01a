import fc from "fast-check";
import { expect, test } from "vitest";
import { editDistance, suggest } from "../../src/cli/suggest.ts";

test("one letter more, less, other or swapped is one edit", () => {
  expect(editDistance("run", "run")).toBe(0);
  for (const typed of ["runn", "ru", "ran", "rnu"]) expect(editDistance(typed, "run")).toBe(1);
  expect(editDistance("", "run")).toBe(3);
});

test("the distance is the same both ways and never above the longer word", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
      const distance = editDistance(a, b);
      expect(editDistance(b, a)).toBe(distance);
      expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      expect(distance === 0).toBe(a === b);
    }),
  );
});

test("nothing is suggested for what resembles nothing", () => {
  expect(suggest("xyz", ["install", "run", "check"])).toBeNull();
  expect(suggest("", ["run"])).toBeNull();
});
