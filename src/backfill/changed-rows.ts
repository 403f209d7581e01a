import type { DocEvent } from "../events/doc-event.ts";
import type { Match } from "../match/match.ts";

/** More changed rows than this are not told apart: the whole chunk is read again. */
const MOST = 100_000;

/** What happened to a table between two watermarks. Whoever changed then may have been read before or after it. */
export class ChangedRows {
  readonly #oid: number;
  readonly #webhookId: number;
  readonly #changed = new Set<string>();
  readonly #delivered = new Set<string>();
  #isBeyond = false;

  constructor(oid: number, webhookId: number) {
    this.#oid = oid;
    this.#webhookId = webhookId;
  }

  note(events: readonly DocEvent[], matches: readonly Match[]): void {
    for (const { change, docname, oldDocname } of events) {
      if (change.relation.oid !== this.#oid) continue;
      if (change.kind === "truncate" || this.#changed.size > MOST) this.#isBeyond = true;
      if (docname !== null) this.#changed.add(docname);
      if (oldDocname !== null) this.#changed.add(oldDocname);
    }
    for (const { webhook, event } of matches) {
      if (webhook.id === this.#webhookId && event.docname !== null) this.#delivered.add(event.docname);
    }
  }

  /** What becomes of a row that was read: as it was read, read again, or left to the delivery of its change. */
  verdict(docname: string): "send" | "again" | "newer" {
    if (this.#delivered.has(docname)) return "newer";
    return this.#isBeyond || this.#changed.has(docname) ? "again" : "send";
  }
}
