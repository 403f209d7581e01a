import { describe, expect, it } from "vitest";
import { formatDuration } from "../../src/cli/duration.ts";
import { timeline } from "../../src/cli/timeline.ts";
import { DEFAULT_RETRY_SCHEDULE_MS } from "../../src/deliver/retry.ts";

describe("a retry schedule as a timeline", () => {
  it("says of each attempt when it comes, at the earliest and at the latest", () => {
    expect(timeline([5_000, 60_000])).toEqual([
      "  attempt  not before  not after   delay",
      "  1        at once     at once",
      "  2        5 s         6 s         5 s",
      "  3        1 min 5 s   1 min 18 s  1 min",
      "  then it is a dead letter, 1 min 5 s to 1 min 18 s after the first attempt",
    ]);
  });
  it("of the default has eleven attempts over three days", () => {
    const lines = timeline(DEFAULT_RETRY_SCHEDULE_MS);
    expect(lines).toHaveLength(13);
    expect(lines.at(-1)).toMatch(/3 d 3 h to 3 d 18 h after the first attempt$/);
  });
  it("may be empty", () => {
    expect(timeline([]).at(-1)).toBe("  then it is a dead letter, 0 s to 0 s after the first attempt");
  });
});

describe("a span of time", () => {
  it.each([
    [0, "0 s"],
    [0.4, "0 s"],
    [250, "250 ms"],
    [1_500, "1 s 500 ms"],
    [60_000, "1 min"],
    [90_061_000, "1 d 1 h"],
  ])("of %d ms is %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});
