import type { Ticket } from "./ticket.ts";

/** A batch's bodies take no more than this together, unless one alone does. */
export const MAX_BATCH_BYTES: number = 1024 * 1024;

/**
 * Chooses what goes into one batch: of those that are ready the first ones that share method and content type, then
 * those that wait for nothing but what is in it already, so that all changes of one document may travel together.
 *
 * @param ready in the order in which they became ready
 * @returns at least one, where one is ready; not yet in commit order
 */
export function gatherBatch(ready: Iterable<Ticket>, size: number): Ticket[] {
  const batch: Ticket[] = [];
  let bytes = 0;
  const add = (ticket: Ticket): boolean => {
    const length = ticket.request?.body.length ?? 0;
    if (batch.length >= size || (batch.length > 0 && bytes + length > MAX_BATCH_BYTES)) return false;
    if (batch.length > 0 && !goesWith(batch[0]!, ticket)) return false;
    batch.push(ticket);
    bytes += length;
    return true;
  };
  for (const ticket of ready) {
    if (ticket.state !== "ready") continue;
    if (ticket.batch !== null || !add(ticket)) break;
  }
  const inside = new Map<Ticket, number>();
  // The batch grows while it is walked: a follower's followers come along, too.
  for (const ticket of batch) {
    for (const follower of ticket.followers ?? []) {
      const count = (inside.get(follower) ?? 0) + 1;
      inside.set(follower, count);
      if (follower.state === "waiting" && count === follower.waitsFor && !add(follower)) return batch;
    }
  }
  return batch;
}

/** Whether its URL or headers are of its own event, so that it shares a request with no other. */
export function isByItself({ request }: Ticket): boolean {
  return request !== null && (request.url !== null || request.headers.length > 0);
}

function goesWith(first: Ticket, ticket: Ticket): boolean {
  return (
    ticket.request !== null &&
    // What the queue has goes back by itself: with others a batch would be taken apart by the next checkpoint.
    first.isDurable === ticket.isDurable &&
    !isByItself(ticket) &&
    first.request?.method === ticket.request.method &&
    first.request.contentType === ticket.request.contentType
  );
}
