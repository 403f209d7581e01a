import type { Ticket } from "./ticket.ts";

/** Deliveries with a queue row that this process is dealing with, and what their bodies take of its memory. */
export class Claims {
  readonly #claimed = new Map<string, { readonly ticket: Ticket; readonly bytes: number }>();
  #bytes = 0;

  add(ticket: Ticket): void {
    const { delivery, request, change } = ticket;
    if (this.#claimed.has(delivery.id)) return;
    const bytes = (request?.body.length ?? 0) + (change?.length ?? 0);
    this.#claimed.set(delivery.id, { ticket, bytes });
    this.#bytes += bytes;
  }

  delete({ delivery }: Ticket): void {
    this.#bytes -= this.#claimed.get(delivery.id)?.bytes ?? 0;
    this.#claimed.delete(delivery.id);
  }

  get count(): number {
    return this.#claimed.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get ids(): string[] {
    return [...this.#claimed.keys()];
  }

  get tickets(): Ticket[] {
    return [...this.#claimed.values()].map(({ ticket }) => ticket);
  }
}
