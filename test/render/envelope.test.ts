import { describe, expect, it } from "vitest";
import type { DocEvent } from "../../src/events/doc-event.ts";
import { envelope } from "../../src/render/envelope.ts";
import { deleted, eventOf, inserted, order, ORDERS, truncated, updated } from "./changes.ts";

interface Envelope {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Record<string, unknown>;
}
const read = (event: DocEvent): Envelope => JSON.parse(envelope(event)) as Envelope;

describe("the body of a webhook that chooses nothing", () => {
  it("is {type, timestamp, data} as Standard Webhooks recommends, to the byte", () => {
    expect(envelope(eventOf(inserted(order()), "after_insert"))).toBe(
      '{"type":"orders.after_insert","timestamp":"2026-11-24T16:55:32.123456Z","data":{' +
        '"doctype":"orders","name":"9007199254740993","event":"after_insert","doc":{"id":9007199254740993,' +
        '"customer":"Ada \\"Countess\\" Lovelace","total":1234.50,"paid":true,' +
        '"lines":[{"item": "bolt", "price": 0.10}, {"item": "nut", "price": 12345678901234567890}],' +
        '"placed_at":"2026-11-24T16:55:32.000001+00:00","note":null},"omitted":["margin"],' +
        '"lsn":"16/B374D848","xid":4294967295,"commit_time":"2026-11-24T16:55:32.123456Z"}}',
    );
  });
  it("has the row before and the changed columns of an update where the WAL carries them", () => {
    const { data } = read(eventOf(updated(order({ total: "2" }), order({ total: "1" })), "on_update"));
    expect(data).toMatchObject({ doc: { total: 2 }, old: { total: 1 }, changed: ["total"] });
  });
  it("has neither where the WAL says nothing of the row before", () => {
    const { data } = read(eventOf(updated(order(), null), "on_update"));
    expect(data).not.toHaveProperty("old");
    expect(data).not.toHaveProperty("changed");
  });
  it("has the part of the row before that is known, but no changed columns then", () => {
    const key = order({ id: "1" }).map((value, index) => (index === 0 ? value : undefined));
    const { data } = read(eventOf(updated(order({ id: "2" }), key), "on_update"));
    expect(data).toMatchObject({ name: "2", old_name: "1", old: { id: 1 } });
    expect(data).not.toHaveProperty("changed");
  });
  it("lists a column that did not change and is not in the WAL instead of making a value up", () => {
    const { data } = read(eventOf(updated(order({ note: undefined }), null), "on_update"));
    expect(data["unchanged"]).toEqual(["note"]);
    expect(data["doc"]).not.toHaveProperty("note");
  });
  it("has the value of a column that did not change where the row before carries it", () => {
    const change = updated(order({ note: undefined, total: "2" }), order({ note: "long", total: "1" }));
    const { data } = read(eventOf(change, "on_update"));
    expect(data).toMatchObject({ doc: { note: "long" }, changed: ["total"] });
    expect(data).not.toHaveProperty("unchanged");
  });
  it("lists what is missing for another reason under omitted", () => {
    const keyOnly = order().map((value, index) => (index === 0 ? value : undefined));
    const { data } = read(eventOf(deleted(keyOnly), "on_trash"));
    expect(data["doc"]).toEqual({ id: 9_007_199_254_740_992 });
    expect(data["omitted"]).toEqual(["customer", "total", "paid", "lines", "placed_at", "note", "margin"]);
    expect(data).not.toHaveProperty("unchanged");
    const tooLong = { ...updated(order({ note: undefined }), null), oversized: [6] };
    expect(read(eventOf(tooLong, "on_update")).data).toMatchObject({ omitted: ["note", "margin"] });
  });
  it("has the row before as doc for on_trash, and no old beside it", () => {
    const { data } = read(eventOf(deleted(order()), "on_trash"));
    expect(data).toMatchObject({ event: "on_trash", doc: { total: 1234.5 } });
    expect(data).not.toHaveProperty("old");
  });
  it("has no document for on_truncate", () => {
    const { type, data } = read(eventOf(truncated(), "on_truncate"));
    expect(type).toBe("orders.on_truncate");
    expect(Object.keys(data)).toEqual(["doctype", "name", "event", "lsn", "xid", "commit_time"]);
    expect(data["name"]).toBeNull();
  });
  it("has a type of letters, digits, underscores and full stops, whatever the table is called", () => {
    const relation = { ...ORDERS, doctype: 'sales.Tab "é" -\n' };
    const { type, data } = read(eventOf(inserted(order(), relation), "after_insert"));
    expect(type).toBe("sales.Tab_______.after_insert");
    expect(data["doctype"]).toBe(relation.doctype);
  });
});
