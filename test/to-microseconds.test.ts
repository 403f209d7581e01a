import { expect, it } from "vitest";
import { toMicroseconds } from "../src/to-microseconds.ts";

it.each([
  ["1970-01-01 00:00:00+00", 0n],
  ["2026-11-24 16:55:32.000001+00", 1_795_539_332_000_001n],
  ["2026-11-24 16:55:32.5+00", 1_795_539_332_500_000n],
  ["1969-12-31 23:59:59.999999+00", -1n],
  ["9999-12-31 23:59:59+00", 253_402_300_799_000_000n],
  ["20000-01-01 00:00:00+00", 568_971_820_800_000_000n],
  ["294276-12-31 23:59:59.999999+00", 9_224_318_015_999_999_999n],
  ["0001-01-01 00:00:00+00", -62_135_596_800_000_000n],
  ["0001-12-31 00:00:00+00 BC", -62_135_683_200_000_000n],
  ["4714-11-24 00:00:00+00 BC", -210_866_803_200_000_000n],
])("%s, as the stream has it, is %s microseconds since 1970", (text, expected) => {
  expect(toMicroseconds(text)).toBe(expected);
});

it("infinity is later, and -infinity earlier, than any commit", () => {
  expect(toMicroseconds("infinity")).toBeGreaterThan(toMicroseconds("9999-12-31 23:59:59+00"));
  expect(toMicroseconds("-infinity")).toBeLessThan(toMicroseconds("4714-11-24 00:00:00+00 BC"));
});
