import { orderOf, type Expected } from "./ledger.ts";

/** What is out of order about a row that was read from its table. */
export interface RowOrder {
  /** A delivery of an earlier change of it, or of this one, that had to be accepted before; null where there is none. */
  readonly earlier: Expected | null;
  /** A delivery of a later change that has arrived already; null where there is none. */
  readonly newer: Expected | null;
}

/**
 * Watches the order of each lane: a delivery may arrive for the first time only when every earlier one of its webhook
 * for its document has been accepted. A TRUNCATE stands in all lanes of its webhook, so it waits for everything before
 * it, and everything after it waits for it. In a batch those before it travel along.
 */
export class LaneOrder {
  readonly #lanes = new Map<string, Line>();
  readonly #webhooks = new Map<string, Line>();
  readonly #barriers = new Map<string, Line>();
  readonly #arrived = new Set<Expected>();
  readonly #accepted = new Set<Expected>();
  /** The latest that has arrived, by lane, and of those that stand in all lanes by webhook. */
  readonly #newest = new Map<string, Expected>();
  /** What has come so far in the request at hand. */
  readonly #company = new Set<Expected>();
  #request = 0;

  constructor(expected: Iterable<Expected>) {
    for (const delivery of [...expected].toSorted((a, b) => a.order - b.order)) {
      const { webhook, lanes, isBarrier } = delivery;
      for (const name of lanes) this.#line(this.#lanes, `${webhook} ${name}`).push(delivery);
      if (isBarrier) this.#line(this.#barriers, webhook).push(delivery);
      this.#line(this.#webhooks, webhook).push(delivery);
    }
  }

  /** Notes an arrival in this request. Returns an earlier delivery that had to be accepted first; null where all is well. */
  arrive(delivery: Expected, request: number, isAccepted: boolean): Expected | null {
    this.#enter(request);
    this.#company.add(delivery);
    this.#note(delivery);
    const isFirst = !this.#arrived.has(delivery);
    this.#arrived.add(delivery);
    if (isAccepted) this.#accepted.add(delivery);
    if (!isFirst) return null;
    for (const line of this.#linesBefore(delivery)) {
      const open = line.firstOpen(this.#company);
      if (open !== null && open.order < delivery.order) return open;
    }
    return null;
  }

  /** Looks at a row as it was after change `seq`, which arrives in this request for the first time. */
  arriveRow(webhook: string, docname: string, seq: number, request: number): RowOrder {
    this.#enter(request);
    const lane = `${webhook} ${docname}`;
    const behind = orderOf(seq + 1, 0);
    const earlier = [this.#line(this.#lanes, lane), this.#line(this.#barriers, webhook)]
      .map((line) => line.firstOpen(this.#company))
      .find((open) => open !== null && open.order < behind);
    const newer = [lane, webhook]
      .map((name) => this.#newest.get(name))
      .find((newest) => newest !== undefined && newest.order >= behind);
    return { earlier: earlier ?? null, newer: newer ?? null };
  }

  /** Whether a delivery is due of a change of the document behind `first`, up to `last`. */
  hasBetween(webhook: string, docname: string, first: number, last: number): boolean {
    return this.#line(this.#lanes, `${webhook} ${docname}`).has(orderOf(first + 1, 0), orderOf(last + 1, 0));
  }

  #enter(request: number): void {
    if (request !== this.#request) this.#company.clear();
    this.#request = request;
  }

  #note(delivery: Expected): void {
    const { webhook, lanes, isBarrier, order } = delivery;
    for (const name of isBarrier ? [webhook] : lanes.map((lane) => `${webhook} ${lane}`)) {
      if ((this.#newest.get(name)?.order ?? -1) < order) this.#newest.set(name, delivery);
    }
  }

  #linesBefore({ webhook, lanes, isBarrier }: Expected): readonly Line[] {
    if (isBarrier) return [this.#line(this.#webhooks, webhook)];
    const ofDocument = lanes.map((name) => this.#line(this.#lanes, `${webhook} ${name}`));
    return [...ofDocument, this.#line(this.#barriers, webhook)];
  }

  #line(lines: Map<string, Line>, name: string): Line {
    let line = lines.get(name);
    if (line === undefined) lines.set(name, (line = new Line(this.#accepted)));
    return line;
  }
}

/** Deliveries that must come one after the other. */
class Line {
  readonly #accepted: ReadonlySet<Expected>;
  readonly #deliveries: Expected[] = [];
  /** All before this one have been accepted. */
  #open = 0;

  constructor(accepted: ReadonlySet<Expected>) {
    this.#accepted = accepted;
  }

  push(delivery: Expected): void {
    this.#deliveries.push(delivery);
  }

  has(from: number, behind: number): boolean {
    return this.#deliveries.some(({ order }) => order >= from && order < behind);
  }

  /** The first one that has not been accepted, but for those that travel along. */
  firstOpen(company: ReadonlySet<Expected>): Expected | null {
    const isOpen = (at: number): boolean => !this.#accepted.has(this.#deliveries[at]!);
    while (this.#open < this.#deliveries.length && !isOpen(this.#open)) this.#open++;
    for (let at = this.#open; at < this.#deliveries.length; at++) {
      const delivery = this.#deliveries[at]!;
      if (isOpen(at) && !company.has(delivery)) return delivery;
    }
    return null;
  }
}
