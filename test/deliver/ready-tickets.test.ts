import { describe, expect, it } from "vitest";
import { ReadyTickets } from "../../src/deliver/ready-tickets.ts";
import type { Ticket } from "../../src/deliver/ticket.ts";

const ticket = (id: string, source: string): Ticket =>
  ({ delivery: { id, source }, state: "ready" }) as unknown as Ticket;
const ids = (tickets: Iterable<Ticket>): string[] => [...tickets].map(({ delivery }) => delivery.id);

function filled(): ReadyTickets {
  const ready = new ReadyTickets();
  for (const [id, source] of [
    ["b1", "backfill"],
    ["l1", "live"],
    ["r1", "replay"],
    ["l2", "live"],
  ] as const)
    ready.push(ticket(id, source));
  return ready;
}

describe("the deliveries that are ready", () => {
  it("leave live ones first, the others in their order behind", () => {
    const ready = filled();
    expect(ids(ready.head(3))).toEqual(["l1", "l2", "b1"]);
    const left: string[] = [];
    for (let first = ready.first(); first !== undefined; first = ready.first()) {
      left.push(first.delivery.id);
      ready.skip();
    }
    expect(left).toEqual(["l1", "l2", "b1", "r1"]);
    expect(ready.count).toBe(0);
  });

  it("are passed over when they are not ready any more, and can be taken out", () => {
    const ready = filled();
    Object.assign(ready.first()!, { state: "parked" });
    expect(ready.first()!.delivery.id).toBe("l2");
    expect(ids(ready.drain(({ delivery }) => delivery.source !== "backfill"))).toEqual(["l2", "r1"]);
    expect(ids(ready.head(9))).toEqual(["b1"]);
  });
});
