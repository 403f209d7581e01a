import { describe, expect, it } from "vitest";
import { gatherBatch, MAX_BATCH_BYTES } from "../../src/deliver/gather-batch.ts";
import { Lanes } from "../../src/deliver/lanes.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";

let count = 0;
function ticket(docname: string, over: { oldDocname?: string; bytes?: number; method?: string } = {}): Ticket {
  const at = BigInt(++count);
  return newTicket(
    {
      id: `msg_${String(at).padStart(5, "0")}`,
      webhookId: 1,
      webhookName: "w",
      doctype: "t",
      docname,
      oldDocname: over.oldDocname ?? null,
      docevent: "on_update",
      source: "live",
      position: { commitLsn: at, changeLsn: at, index: 0 },
      xid: 1,
      commitTimeUs: 0n,
      isOrdered: true,
    },
    {
      method: over.method ?? "POST",
      url: null,
      contentType: "application/json",
      headers: [],
      body: Buffer.alloc(over.bytes ?? 2),
    },
  );
}
function entered(tickets: readonly Ticket[]): readonly Ticket[] {
  const lanes = new Lanes();
  for (const one of tickets) lanes.enter(one);
  return tickets;
}
const positions = (all: readonly Ticket[], chosen: readonly Ticket[]): number[] =>
  chosen.map((one) => all.indexOf(one));

describe("a batch", () => {
  it("takes what is ready first, then what waits for nothing but it", () => {
    const all = entered([ticket("A"), ticket("A"), ticket("B"), ticket("A")]);
    expect(positions(all, gatherBatch(all, 10))).toEqual([0, 2, 1, 3]);
  });
  it("takes a change of the key only when all before it in both its lanes are in", () => {
    const all = entered([ticket("A"), ticket("B"), ticket("C", { oldDocname: "A" }), ticket("B", { oldDocname: "C" })]);
    expect(positions(all, gatherBatch(all, 3))).toEqual([0, 1, 2]);
    expect(
      positions(
        all,
        gatherBatch(
          all.filter((one) => one !== all[1]),
          10,
        ),
      ),
    ).toEqual([0, 2]);
  });
  it("has no more than its size", () => {
    const all = entered(Array.from({ length: 9 }, (_, n) => ticket(String(n))));
    expect(gatherBatch(all, 4)).toEqual(all.slice(0, 4));
  });
  it("has no more than a megabyte, unless one delivery alone does", () => {
    const half = MAX_BATCH_BYTES / 2;
    const all = entered([ticket("A", { bytes: half }), ticket("B", { bytes: half }), ticket("C", { bytes: 1 })]);
    expect(gatherBatch(all, 10)).toEqual(all.slice(0, 2));
    const big = entered([ticket("D", { bytes: 2 * MAX_BATCH_BYTES }), ticket("E")]);
    expect(gatherBatch(big, 10)).toEqual(big.slice(0, 1));
  });
  it("has one method", () => {
    const all = entered([ticket("A"), ticket("B", { method: "PUT" }), ticket("C")]);
    expect(gatherBatch(all, 10)).toEqual(all.slice(0, 1));
  });
});
