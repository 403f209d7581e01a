import { beforeEach, describe, expect, it } from "vitest";
import { batchOf } from "../../src/deliver/parcel.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";
import type { CheckpointPlan } from "../../src/record/checkpoint-plan.ts";
import { Tracker } from "../../src/record/tracker.ts";

const GRACE_MS = 1_000;
let tracker: Tracker;
let lsn = 0n;
beforeEach(() => {
  tracker = new Tracker(null, GRACE_MS, (open) => (open.state = "parked"));
});

function ticket(state: Ticket["state"]): Ticket {
  lsn += 1n;
  const position = { commitLsn: lsn, changeLsn: lsn, index: 0 };
  const made = newTicket(
    {
      id: `msg_${String(lsn).padStart(5, "0")}`,
      webhookId: 1,
      webhookName: "w",
      doctype: "t",
      docname: String(lsn),
      oldDocname: null,
      docevent: "after_insert",
      source: "live",
      position,
      xid: 1,
      commitTimeUs: 0n,
      isOrdered: true,
    },
    null,
  );
  made.state = state;
  return made;
}
function admit(...tickets: Ticket[]): void {
  const { position } = tickets.at(-1)!.delivery;
  tracker.admit({ position, flushLsn: position.commitLsn, bytes: 1, tickets, configuration: null }, 0);
}
function together(...tickets: Ticket[]): void {
  const batch = batchOf(tickets);
  for (const member of tickets) member.batch = batch;
}
const queued = (plan: CheckpointPlan | null): string[] =>
  plan?.enqueue.map(({ ticket: { delivery } }) => delivery.id) ?? [];

describe("a batch that is open", () => {
  it("goes into the queue whole, though its deliveries came in several chunks", () => {
    const [one, between, two] = [ticket("parked"), ticket("ready"), ticket("parked")];
    together(one, two);
    admit(one);
    admit(between);
    admit(two);
    expect(queued(tracker.plan(0))).toEqual([one.delivery.id, between.delivery.id, two.delivery.id]);
    // What stood between them goes on from the queue as well, since the cursor passes it.
    expect(between.state).toBe("parked");
  });

  it("waits for the chunk of its last delivery", () => {
    const [one, two] = [ticket("parked"), ticket("parked")];
    together(one, two);
    admit(one);
    expect(tracker.plan(0)).toBeNull();
    admit(two);
    expect(queued(tracker.plan(0))).toEqual([one.delivery.id, two.delivery.id]);
  });

  it("is no reason for haste once it is delivered, or stands in the queue", () => {
    const [one, two, later] = [ticket("ended"), ticket("ended"), ticket("sending")];
    together(one, two);
    admit(one);
    admit(later);
    admit(two);
    expect(tracker.plan(0)?.tickets).toBe(1);
    const [three, four] = [ticket("parked"), ticket("parked")];
    together(three, four);
    four.isDurable = true;
    tracker = new Tracker(null, GRACE_MS, () => {});
    admit(three);
    expect(queued(tracker.plan(0))).toEqual([three.delivery.id]);
  });
});
