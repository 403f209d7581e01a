import { describe, expect, it } from "vitest";
import { batchOf, bundle } from "../../src/deliver/parcel.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";

function ticket(id: string, commitLsn: bigint, index = 0): Ticket {
  return newTicket(
    {
      id,
      webhookId: 1,
      webhookName: "w",
      doctype: "t",
      docname: "a",
      oldDocname: null,
      docevent: "on_update",
      source: "live",
      position: { commitLsn, changeLsn: commitLsn, index },
      xid: 1,
      commitTimeUs: 0n,
      isOrdered: true,
    },
    { method: "POST", url: null, contentType: "application/json", headers: [], body: Buffer.from(`"${id}"`) },
  );
}

const idsIn = (tickets: readonly Ticket[]): readonly string[] => {
  const body = bundle(batchOf(tickets)).request.body.toString();
  return (JSON.parse(body) as readonly { readonly id: string }[]).map(({ id }) => id);
};

describe("a batch", () => {
  it("has its deliveries in the order of the stream: a row of a backfill, whose id is smaller, behind the changes before it", () => {
    const before = ticket("msg_5", 50n);
    const row = ticket("msg_0", 60n, 3);
    const behind = ticket("msg_7", 70n);
    expect(idsIn([behind, row, before])).toEqual(["msg_5", "msg_0", "msg_7"]);
  });

  it("has doc events of one change in the order of their ids", () => {
    expect(idsIn([ticket("msg_52", 50n), ticket("msg_51", 50n), ticket("msg_49", 49n)])).toEqual([
      "msg_49",
      "msg_51",
      "msg_52",
    ]);
  });

  it("has an id of its deliveries alone, in whatever order they come", () => {
    const tickets = [ticket("msg_5", 50n), ticket("msg_0", 60n), ticket("msg_7", 70n)];
    expect(batchOf(tickets.toReversed()).id).toBe(batchOf(tickets).id);
    expect(batchOf(tickets.slice(1)).id).not.toBe(batchOf(tickets).id);
  });
});
