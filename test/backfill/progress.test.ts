import { describe, expect, it } from "vitest";
import { advance, type Progress } from "../../src/backfill/progress.ts";

const START: Progress = { backfillId: "1", lastKey: null, pending: [], rowsDone: 0, rowsSent: 0 };

describe("how far a backfill is", () => {
  it("moves to where the table was read, and counts its rows", () => {
    expect(advance(START, { wasPending: false, reached: ["3"], rows: 3, sent: 2 })).toEqual({
      backfillId: "1",
      lastKey: ["3"],
      pending: [],
      rowsDone: 3,
      rowsSent: 2,
    });
  });

  it("stays where it is with a row that an earlier version wanted to read again, whether that is there or gone", () => {
    const before = { ...START, lastKey: ["9"], pending: [["1"], ["2"]], rowsDone: 6, rowsSent: 6 };
    const there = advance(before, { wasPending: true, reached: ["1"], rows: 1, sent: 1 });
    expect(there).toEqual({ ...before, pending: [["2"]], rowsDone: 7, rowsSent: 7 });
    const gone = advance(there, { wasPending: true, reached: null, rows: 0, sent: 0 });
    expect(gone).toEqual({ ...before, pending: [], rowsDone: 8, rowsSent: 7 });
  });
});
