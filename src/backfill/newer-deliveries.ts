import type { Match } from "../match/match.ts";
import type { Order } from "../render/delivery.ts";
import type { Snapshot } from "./snapshot.ts";

/** More documents than this are not remembered, about 10 MB: the chunk is read again then. A chunk takes about a second at most. */
const MOST = 100_000;

/** Documents of which the stream has something that a read did not see; null stands for all of the table (TRUNCATE). */
export interface Unseen {
  /** With a newer delivery. */
  readonly sent: ReadonlySet<string | null>;
  /** With a change whose condition has not been answered: whether it is delivered nobody knows. */
  readonly undecided: ReadonlySet<string | null>;
}

/**
 * What the stream delivers through a webhook while a backfill reads, by transaction. A row that was read is newer than all
 * deliveries of transactions that its read saw, and older than all others: changes of one row wait for each other.
 */
export class NewerDeliveries {
  readonly #oid: number;
  readonly #webhookId: number;
  /** By transaction id. */
  readonly #sent = new Map<number, Set<string | null>>();
  readonly #undecided = new Map<number, Set<string | null>>();
  #count = 0;
  #isLost = false;

  constructor(oid: number, webhookId: number) {
    this.#oid = oid;
    this.#webhookId = webhookId;
  }

  /** There were too many: nothing is known any more. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** What became of a match, in the order of the stream. What could not be rendered is sent by nobody else. */
  note({ webhook, event }: Match, { kind }: Order): void {
    if (this.#isLost || kind === "unsendable") return;
    if (webhook.id !== this.#webhookId || event.change.relation.oid !== this.#oid) return;
    const byXid = kind === "undecided" ? this.#undecided : this.#sent;
    const { xid } = event.change.transaction;
    let names = byXid.get(xid);
    if (names === undefined) byXid.set(xid, (names = new Set()));
    const before = names.size;
    names.add(event.docname);
    if (event.oldDocname !== null) names.add(event.oldDocname);
    this.#count += names.size - before;
    if (this.#count <= MOST) return;
    this.#isLost = true;
    this.#sent.clear();
    this.#undecided.clear();
  }

  /** What this read did not see; what it saw is forgotten, since later reads see it too. Null: it was too much to remember. */
  unseen(by: Snapshot): Unseen | null {
    if (this.#isLost) return null;
    return { sent: this.#namesUnseen(this.#sent, by), undecided: this.#namesUnseen(this.#undecided, by) };
  }

  #namesUnseen(byXid: Map<number, Set<string | null>>, by: Snapshot): Set<string | null> {
    const found = new Set<string | null>();
    for (const [xid, names] of byXid) {
      if (by.sees(xid)) {
        byXid.delete(xid);
        this.#count -= names.size;
      } else for (const name of names) found.add(name);
    }
    return found;
  }
}
