import { describe, expect, it } from "vitest";
import { docEvents } from "../../src/events/doc-events.ts";
import { declinedBecause, passedBecause } from "../../src/match/declined.ts";
import { deleted, inserted, order, updated } from "../render/changes.ts";

const condition = { functionName: "c1_1", columns: ["id"], usesOld: false };

describe("why a condition lets nothing be sent", () => {
  it("is FALSE or NULL, and which of the two is not claimed of a function that does not tell", () => {
    const telling = { condition: { ...condition, tellsNull: true } };
    const former = { condition: { ...condition, tellsNull: false } };
    expect(declinedBecause(telling, "false")).toBe("its condition is FALSE for this row");
    expect(declinedBecause(telling, "null")).toMatch(/^its condition is NULL \(unknown\) for this row.*coalesce/);
    expect(declinedBecause(former, "false")).toMatch(
      /^its condition is FALSE or NULL for this row; an earlier version/,
    );
  });
});

describe("why a change passes a webhook by", () => {
  const watching = (enabled: boolean, ...events: Parameters<typeof passedBecause>[0]["events"][number][]) => ({
    enabled,
    events,
  });
  const update = docEvents(updated(order({ note: "new" }), order({ note: "old" })));
  const blindUpdate = docEvents(updated(order(), null));
  const insert = docEvents(inserted(order()));

  it("is nothing where one of its events is chosen", () => {
    expect(passedBecause(watching(true, "on_change"), update)).toBeNull();
    expect(passedBecause(watching(true, "on_update", "on_trash"), update)).toBeNull();
    // Also one that only may have happened: that is logged as undecidable.
    expect(passedBecause(watching(true, "on_change"), blindUpdate)).toBeNull();
  });

  it("is that no event of it is chosen: what it is, and what is watched", () => {
    expect(passedBecause(watching(true, "after_insert"), update)).toBe(
      "event not chosen: the change is on_update and on_change, it watches after_insert",
    );
    expect(passedBecause(watching(true, "on_update", "on_trash", "on_truncate"), insert)).toBe(
      "event not chosen: the change is after_insert and on_change, it watches on_update, on_trash and on_truncate",
    );
    expect(passedBecause(watching(true, "after_insert"), docEvents(deleted(order())))).toBe(
      "event not chosen: the change is on_trash, it watches after_insert",
    );
  });

  it("does not say of an event that it happened where nobody can know", () => {
    expect(passedBecause(watching(true, "after_insert"), blindUpdate)).toBe(
      "event not chosen: the change is on_update, it watches after_insert",
    );
  });

  it("is that it was disabled, and both where both hold", () => {
    expect(passedBecause(watching(false, "on_update"), update)).toBe("it was disabled when the change was committed");
    expect(passedBecause(watching(false, "after_insert"), update)).toBe(
      "it was disabled when the change was committed; event not chosen: the change is on_update and on_change, it watches after_insert",
    );
  });
});
