import { unsentRecord, type AttemptRecord } from "./attempt-record.ts";
import type { Lanes } from "./lanes.ts";
import type { Ticket } from "./ticket.ts";
import type { Repair } from "../match/repair.ts";
import { concerns } from "./concerns.ts";

/**
 * The cancellations (`walhook.cancel`) that were met in the stream and are not durable yet. Until one is, its webhook sends
 * nothing, so that what it means waits in the queue, where the checkpoint finds it; what is under way, or was fetched
 * from the queue before, is marked here and ends when its turn comes.
 */
export class Cancellations {
  readonly #lanes: Lanes;
  readonly #underWay = new Set<Repair>();

  constructor(lanes: Lanes) {
    this.#lanes = lanes;
  }

  /** Whether a webhook is held by one. */
  holds(webhookId: number): boolean {
    for (const repair of this.#underWay) if (repair.webhookId === webhookId) return true;
    return false;
  }

  /**
   * Meets one in the stream.
   * @param open what is open in this process
   * @param claimed what was fetched from the queue
   * @returns those that end now; the others it means end by themselves, when their request or their question does
   */
  begin(repair: Repair, open: Iterable<Ticket>, claimed: readonly Ticket[]): readonly Ticket[] {
    this.#underWay.add(repair);
    const isMeant = (ticket: Ticket): boolean => ticket.state !== "ended" && concerns(repair, ticket.delivery);
    for (const ticket of open) {
      if (ticket.state === "sending" && isMeant(ticket)) ticket.cancelledBy = repair.requestedBy;
    }
    const parked: Ticket[] = [];
    for (const ticket of claimed.filter(isMeant)) {
      if (ticket.state === "parked") continue;
      ticket.cancelledBy = repair.requestedBy;
      if (ticket.request !== null && ticket.state !== "sending") parked.push(...this.#lanes.park(ticket));
    }
    return parked;
  }

  /** These are durable: what they meant is gone. */
  applied(repairs: Iterable<Repair>): void {
    for (const repair of repairs) this.#underWay.delete(repair);
  }

  /** Ends a marked delivery whose last attempt has failed, or that had none. Null: it is not at its end yet. */
  end(ticket: Ticket, nowMs: number): AttemptRecord | null {
    if (ticket.state !== "parked" && !ticket.isDead) return null;
    const reason = `${ticket.cancelledBy} cancelled it`;
    ticket.cancelledBy = null;
    ticket.isDead = false;
    ticket.holdsLane = false;
    this.#lanes.end(ticket);
    return unsentRecord(ticket.delivery, "cancelled", reason, nowMs);
  }
}
