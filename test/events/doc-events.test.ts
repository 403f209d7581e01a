import { describe, expect, it } from "vitest";
import type { Relation } from "../../src/decode/relation.ts";
import type { Row, RowChange } from "../../src/decode/row-change.ts";
import { DOC_EVENT_NUMBERS, DOC_EVENTS } from "../../src/events/doc-event.ts";
import { docEvents } from "../../src/events/doc-events.ts";
import { docname } from "../../src/events/docname.ts";
import { rowAfter } from "../../src/events/row-after.ts";
import { deleted, inserted, order, ORDERS, truncated, updated } from "../render/changes.ts";

const INVOICES: Relation = {
  ...ORDERS,
  columns: [
    { name: "name", typeOid: 25, json: { kind: "text" } },
    { name: "docstatus", typeOid: 21, json: { kind: "number" } },
  ],
  docstatusIndex: 1,
};

const names = (change: RowChange): string[] =>
  docEvents(change).map(({ name, isCertain }) => (isCertain ? name : `${name}?`));

const submission = (before: string | null | undefined, after: string | null | undefined): string[] =>
  names(updated(["INV-1", after], before === undefined ? null : ["INV-1", before], INVOICES)).filter(
    (name) => !name.startsWith("on_change"),
  );

describe("the doc events of a change", () => {
  it("are after_insert and on_change for an INSERT", () => {
    expect(names(inserted(order()))).toEqual(["after_insert", "on_change"]);
  });
  it("are on_submit too for an INSERT of a submitted document", () => {
    expect(names(inserted(["INV-1", "1"], INVOICES))).toEqual(["after_insert", "on_submit", "on_change"]);
    expect(names(inserted(["INV-1", "0"], INVOICES))).toEqual(["after_insert", "on_change"]);
    expect(names(inserted(["INV-1", "2"], INVOICES))).toEqual(["after_insert", "on_change"]);
  });
  it("are on_update for an UPDATE, and on_change if the stored text of a column differs", () => {
    expect(names(updated(order({ total: "1.0" }), order({ total: "1.00" })))).toEqual(["on_update", "on_change"]);
    expect(names(updated(order(), order()))).toEqual(["on_update"]);
    expect(names(updated(order({ note: "" }), order({ note: null })))).toEqual(["on_update", "on_change"]);
  });
  it("do not take an unchanged TOAST value for a change", () => {
    expect(names(updated(order({ note: undefined }), order({ note: "long" })))).toEqual(["on_update"]);
    expect(names(updated(order({ note: undefined }), order({ note: undefined })))).toEqual(["on_update"]);
  });
  it("leave on_change open where the row before is unknown", () => {
    expect(names(updated(order(), null))).toEqual(["on_update", "on_change?"]);
    const keyOnly = order().map((value, index) => (index === 0 ? value : undefined));
    expect(names(updated(order(), keyOnly))).toEqual(["on_update", "on_change?"]);
  });
  it("are sure of on_change once one column is known to differ", () => {
    const key = order().map((_, index) => (index === 0 ? "1" : undefined));
    expect(names(updated(order(), key))).toEqual(["on_update", "on_change"]);
  });
  it("leave on_change open where the new value was too long to be decoded", () => {
    const change = { ...updated(order({ note: undefined }), order()), oversized: [6] };
    expect(names(change)).toEqual(["on_update", "on_change?"]);
  });
  it("are on_trash for a DELETE and on_truncate for a TRUNCATE", () => {
    expect(names(deleted(order()))).toEqual(["on_trash"]);
    expect(names(truncated())).toEqual(["on_truncate"]);
  });
  it("tell the UPDATEs of a submittable table apart by docstatus, as Frappe does", () => {
    expect(submission("0", "0")).toEqual(["on_update"]);
    expect(submission("0", "1")).toEqual(["on_update", "on_submit"]);
    expect(submission("1", "1")).toEqual(["on_update_after_submit"]);
    expect(submission("1", "2")).toEqual(["on_cancel"]);
    for (const [before, after] of [
      ["0", "2"],
      ["1", "0"],
      ["2", "0"],
      ["2", "1"],
      ["2", "2"],
      [null, "1"],
      ["1", null],
      [null, null],
      [null, "2"],
      ["7", "1"],
    ] as const) {
      expect(submission(before, after)).toEqual(["on_update"]);
    }
  });
  it("are all that can have happened, uncertain, where docstatus before is unknown", () => {
    expect(submission(undefined, "1")).toEqual(["on_update?", "on_submit?", "on_update_after_submit?"]);
    expect(submission(undefined, "2")).toEqual(["on_update?", "on_cancel?"]);
    expect(submission(undefined, "0")).toEqual(["on_update"]);
    expect(submission(undefined, null)).toEqual(["on_update"]);
  });
  it("come in the order of their numbers, so that sorting by id is sorting by time", () => {
    const rows: Row[] = ["0", "1", "2", null].map((status) => ["INV-1", status]);
    const changes = rows.flatMap((row) => [
      inserted(row, INVOICES),
      updated(row, null, INVOICES),
      ...rows.map((old) => updated(row, old, INVOICES)),
    ]);
    for (const change of changes) {
      const numbers = docEvents(change).map(({ name }) => DOC_EVENT_NUMBERS[name]);
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }
  });
  it("have numbers that never change: they are part of every delivery id", () => {
    expect(DOC_EVENTS).toEqual([
      "after_insert",
      "on_update",
      "on_submit",
      "on_cancel",
      "on_update_after_submit",
      "on_change",
      "on_trash",
      "on_truncate",
      "backfill",
      "test",
    ]);
  });
});

describe("a document's name", () => {
  const composite = { ...ORDERS, keyIndexes: [1, 0] };
  it("is its primary key as text", () => {
    expect(docname(ORDERS, order({ id: "42" }))).toBe("42");
  });
  it("is a JSON array of texts, in the key's order, where the key has several columns", () => {
    expect(docname(composite, order({ id: "42", customer: 'A "b", é' }))).toBe('["A \\"b\\", é","42"]');
  });
  it("is null without primary key, for an unknown key and for a TRUNCATE", () => {
    expect(docname({ ...ORDERS, keyIndexes: [] }, order())).toBeNull();
    expect(docname(composite, order({ customer: undefined }))).toBeNull();
    expect(docEvents(truncated())[0]?.docname).toBeNull();
  });
  it("is that of the row before for on_trash", () => {
    expect(docEvents(deleted(order({ id: "42" })))[0]).toMatchObject({ docname: "42", oldDocname: null });
  });
  it("comes with the old one where an UPDATE changed the key", () => {
    const [event] = docEvents(updated(order({ id: "2" }), order({ id: "1" })));
    expect(event).toMatchObject({ docname: "2", oldDocname: "1" });
  });
  it("comes without an old one where the key stayed or the row before is unknown", () => {
    expect(docEvents(updated(order({ id: "2" }), order({ id: "2" })))[0]?.oldDocname).toBeNull();
    expect(docEvents(updated(order({ id: "2" }), null))[0]?.oldDocname).toBeNull();
  });
});

describe("the row after an UPDATE", () => {
  it("has the old value where the new row leaves an unchanged one out", () => {
    const after = rowAfter(updated(order({ note: undefined }), order({ note: "long" })));
    expect(after).toEqual(order({ note: "long" }));
  });
  it("has no value where that is unknown or was too long to be decoded", () => {
    expect(rowAfter(updated(order({ note: undefined }), null))).toEqual(order({ note: undefined }));
    expect(rowAfter(updated(order({ note: undefined }), order({ note: null })))).toEqual(order({ note: undefined }));
    const change = { ...updated(order({ note: undefined }), order({ note: "old" })), oversized: [6] };
    expect(rowAfter(change)).toEqual(order({ note: undefined }));
  });
});
