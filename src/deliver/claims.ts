import type { Ticket } from "./ticket.ts";

/** Deliveries with a queue row that this process is dealing with, and what their bodies take of its memory. */
export class Claims {
  readonly #bytesOf = new Map<string, number>();
  #bytes = 0;

  add({ delivery, request, change }: Ticket): void {
    if (this.#bytesOf.has(delivery.id)) return;
    const bytes = (request?.body.length ?? 0) + (change?.length ?? 0);
    this.#bytesOf.set(delivery.id, bytes);
    this.#bytes += bytes;
  }

  delete({ delivery }: Ticket): void {
    this.#bytes -= this.#bytesOf.get(delivery.id) ?? 0;
    this.#bytesOf.delete(delivery.id);
  }

  get count(): number {
    return this.#bytesOf.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get ids(): string[] {
    return [...this.#bytesOf.keys()];
  }
}
