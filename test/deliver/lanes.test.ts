import { describe, expect, it } from "vitest";
import { Lanes } from "../../src/deliver/lanes.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";

let count = 0;
function ticket(docname: string | null, over: Partial<Ticket["delivery"]> = {}): Ticket {
  return newTicket(
    {
      id: `msg_${count++}`,
      webhookId: 1,
      webhookName: "w",
      doctype: "orders",
      docname,
      oldDocname: null,
      docevent: "on_update",
      source: "live",
      position: { commitLsn: 1n, changeLsn: 1n, index: 0 },
      xid: 1,
      commitTimeUs: 0n,
      isOrdered: true,
      ...over,
    },
    null,
  );
}
function entered(...tickets: Ticket[]): Lanes {
  const lanes = new Lanes();
  for (const each of tickets) lanes.enter(each);
  return lanes;
}

describe("lanes", () => {
  it("let one delivery of a document go at a time, in order", () => {
    const [first, second, third] = [ticket("A"), ticket("A"), ticket("A")];
    const lanes = entered(first, second, third);
    expect([first.state, second.state, third.state]).toEqual(["ready", "waiting", "waiting"]);
    expect(lanes.end(first)).toEqual([second]);
    expect(lanes.end(second)).toEqual([third]);
  });
  it("do not let documents wait for each other, nor webhooks", () => {
    const [a, b, other] = [ticket("A"), ticket("B"), ticket("A", { webhookId: 2 })];
    entered(a, b, other);
    expect([a.state, b.state, other.state]).toEqual(["ready", "ready", "ready"]);
  });
  it("do not order documents without a name", () => {
    const [a, b] = [ticket(null), ticket(null)];
    entered(a, b);
    expect([a.state, b.state]).toEqual(["ready", "ready"]);
  });
  it("keep a key change in the old name's lane and in the new one's", () => {
    const [old, fresh, renamed] = [ticket("A"), ticket("B"), ticket("B", { oldDocname: "A" })];
    const [behindOld, behindNew] = [ticket("A"), ticket("B")];
    const lanes = entered(old, fresh, renamed, behindOld, behindNew);
    expect(lanes.end(old)).toEqual([]);
    expect(lanes.end(fresh)).toEqual([renamed]);
    expect(lanes.end(renamed)).toEqual([behindOld, behindNew]);
  });
  it("let a TRUNCATE wait for all before it and hold all behind it, of its own webhook alone", () => {
    const [a, b, truncate] = [ticket("A"), ticket(null), ticket(null, { docevent: "on_truncate" })];
    const [after, other] = [ticket("C"), ticket("C", { webhookId: 2 })];
    const lanes = entered(a, b, truncate, after, other);
    expect([truncate.state, after.state, other.state]).toEqual(["waiting", "waiting", "ready"]);
    lanes.end(a);
    expect(lanes.end(b)).toEqual([truncate]);
    expect(lanes.end(truncate)).toEqual([after]);
  });
  it("park everything behind a parked delivery, later comers too, and nothing else", () => {
    const [a, b, other] = [ticket("A"), ticket("A"), ticket("B")];
    const lanes = entered(a, b, other);
    expect(lanes.park(a)).toEqual([a, b]);
    const late = ticket("A");
    lanes.enter(late);
    expect([late.state, other.state]).toEqual(["parked", "ready"]);
  });
  it("open a parked lane again only when told that the queue table has it", () => {
    const a = ticket("A");
    const lanes = entered(a);
    lanes.park(a);
    lanes.forgetDurable([a]);
    const next = ticket("A");
    lanes.enter(next);
    expect(next.state).toBe("ready");
  });
  it("stay closed while a younger parked delivery is not in the table yet", () => {
    const [a, b] = [ticket("A"), ticket("A")];
    const lanes = entered(a, b);
    lanes.park(a);
    lanes.forgetDurable([a]);
    const next = ticket("A");
    lanes.enter(next);
    expect(next.state).toBe("parked");
  });
});
