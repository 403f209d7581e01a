import type { Ticket } from "./ticket.ts";

/** Deliveries with a queue row that this process is dealing with, and what their bodies take of its memory. */
export class Claims {
  readonly #claimed = new Map<string, { readonly ticket: Ticket; readonly bytes: number }>();
  readonly #watches = new Set<Set<string>>();
  #bytes = 0;

  add(ticket: Ticket): void {
    const { delivery, request, change } = ticket;
    if (this.#claimed.has(delivery.id)) return;
    this.#tell(delivery.id);
    const bytes = (request?.body.length ?? 0) + (change?.length ?? 0);
    this.#claimed.set(delivery.id, { ticket, bytes });
    this.#bytes += bytes;
  }

  delete({ delivery }: Ticket): void {
    this.#tell(delivery.id);
    this.#bytes -= this.#claimed.get(delivery.id)?.bytes ?? 0;
    this.#claimed.delete(delivery.id);
  }

  /** The ids of all that is claimed or let go from now on, until it is disposed of. */
  watch(): { readonly changed: ReadonlySet<string> } & Disposable {
    const changed = new Set<string>();
    this.#watches.add(changed);
    return { changed, [Symbol.dispose]: () => this.#watches.delete(changed) };
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

  #tell(id: string): void {
    for (const changed of this.#watches) changed.add(id);
  }
}
