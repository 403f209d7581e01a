import { describe, expect, it } from "vitest";
import { ChangedRows } from "../../src/backfill/changed-rows.ts";
import { advance, type Progress } from "../../src/backfill/progress.ts";
import type { DocEvent } from "../../src/events/doc-event.ts";
import type { Match } from "../../src/match/match.ts";

const START: Progress = { backfillId: "1", lastKey: null, pending: [], rowsDone: 0, rowsSent: 0 };

describe("how far a backfill is", () => {
  it("moves to the last row that was read; rows that changed meanwhile wait and are not done", () => {
    expect(advance(START, { asked: null, read: [["1"], ["2"], ["3"]], again: [["2"]], sent: 2 })).toEqual({
      backfillId: "1",
      lastKey: ["3"],
      pending: [["2"]],
      rowsDone: 2,
      rowsSent: 2,
    });
  });

  it("rows that are read again and are gone are done; those that changed once more wait behind the others", () => {
    const before = { ...START, lastKey: ["9"], pending: [["1"], ["2"], ["3"]], rowsDone: 6, rowsSent: 6 };
    expect(advance(before, { asked: [["1"], ["2"]], read: [["2"]], again: [["2"]], sent: 0 })).toEqual({
      backfillId: "1",
      lastKey: ["9"],
      pending: [["3"], ["2"]],
      rowsDone: 7,
      rowsSent: 6,
    });
  });
});

describe("a row that was read between two watermarks", () => {
  const event = (docname: string | null, kind: string, oid = 7, oldDocname: string | null = null): DocEvent =>
    ({ docname, oldDocname, change: { kind, relation: { oid } } }) as unknown as DocEvent;
  const matched = (found: DocEvent, id: number): Match =>
    ({ webhook: { id }, event: found, kind: "fires" }) as unknown as Match;

  it("is sent where nothing of it changed; what happens to other tables is nothing to it", () => {
    const changed = new ChangedRows(7, 1);
    changed.note([event("1", "update"), event("2", "update", 8)], []);
    expect([changed.verdict("1"), changed.verdict("2")]).toEqual(["again", "send"]);
  });

  it("is left to a newer delivery of the same webhook alone", () => {
    const changed = new ChangedRows(7, 1);
    const [one, two] = [event("1", "update"), event("2", "update")];
    changed.note([one, two], [matched(one, 1), matched(two, 2)]);
    expect([changed.verdict("1"), changed.verdict("2")]).toEqual(["newer", "again"]);
  });

  it("is read again under both names where its key changed, and whatever it is after a TRUNCATE", () => {
    const changed = new ChangedRows(7, 1);
    changed.note([event("2", "update", 7, "1")], []);
    expect([changed.verdict("1"), changed.verdict("2"), changed.verdict("3")]).toEqual(["again", "again", "send"]);
    changed.note([event(null, "truncate")], []);
    expect(changed.verdict("3")).toBe("again");
  });
});
