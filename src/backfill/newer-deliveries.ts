import type { Match } from "../match/match.ts";
import type { Snapshot } from "./snapshot.ts";

/** More documents than this are not remembered, about 10 MB: the chunk is read again then. A chunk takes about a second at most. */
const MOST = 100_000;

/** Documents that have a delivery which a read did not see; `isAll`: each of the table (TRUNCATE). */
export interface Unseen {
  readonly names: ReadonlySet<string>;
  readonly isAll: boolean;
}

/**
 * What the stream delivers through a webhook while a backfill reads, by transaction. A row that was read is newer than all
 * deliveries of transactions that its read saw, and older than all others: changes of one row wait for each other.
 */
export class NewerDeliveries {
  readonly #oid: number;
  readonly #webhookId: number;
  /** By transaction id; null stands for all documents. */
  readonly #names = new Map<number, Set<string | null>>();
  /** Transactions of changes whose condition has not been answered: whether they are delivered nobody knows. */
  readonly #undecided = new Set<number>();
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

  /** Matches of the stream, in its order. */
  note(matches: readonly Match[]): void {
    if (this.#isLost) return;
    for (const { webhook, event, kind } of matches) {
      if (webhook.id !== this.#webhookId || event.change.relation.oid !== this.#oid) continue;
      if (kind !== "fires" && kind !== "undecided") continue;
      const { xid } = event.change.transaction;
      if (kind === "undecided") this.#undecided.add(xid);
      let names = this.#names.get(xid);
      if (names === undefined) this.#names.set(xid, (names = new Set()));
      const before = names.size;
      names.add(event.docname);
      if (event.oldDocname !== null) names.add(event.oldDocname);
      this.#count += names.size - before;
    }
    if (this.#count <= MOST) return;
    this.#isLost = true;
    this.#names.clear();
    this.#undecided.clear();
  }

  /**
   * What this read did not see; what it saw is forgotten, since later reads see it too. Null: too much to remember, or
   * something that may never be delivered, so that a row which is left to it would be sent by nobody.
   */
  unseen(by: Snapshot): Unseen | null {
    if (this.#isLost) return null;
    const found = new Set<string>();
    let isAll = false;
    for (const [xid, names] of this.#names) {
      if (by.sees(xid)) {
        this.#names.delete(xid);
        this.#undecided.delete(xid);
        this.#count -= names.size;
        continue;
      }
      if (this.#undecided.has(xid)) return null;
      for (const name of names) {
        if (name === null) isAll = true;
        else found.add(name);
      }
    }
    return { names: found, isAll };
  }
}
