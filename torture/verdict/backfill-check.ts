import type { AskedBackfill } from "../repairs/asked.ts";
import { isAccepted, type Arrival } from "../receiver/arrival.ts";
import type { LaneOrder } from "./lane-order.ts";
import type { Violations } from "./violations.ts";

/** A backfill that was asked for, and what became of it. */
export interface BackfillFacts extends AskedBackfill {
  /** As `walhook.backfill_progress` has it. */
  readonly state: string;
  readonly error: string | null;
  /** Its webhook has a condition. */
  readonly isConditional: boolean;
}

/** What was committed of the rows of a table: the content of each version, by `versionName`. */
export type RowContents = ReadonlyMap<string, string>;

/** Names a version of a row of a table by the number of its last change. */
export function versionName(doctype: string, seq: number): string {
  return `${doctype} ${seq}`;
}

/** A row that a backfill has sent. */
interface Sent {
  readonly docname: string;
  /** It may be read again after a crash, and then has another body. */
  readonly bodies: Set<string>;
  isAccepted: boolean;
}

/** The schema changes meanwhile: a backfill that reads a column that was dropped ends, and says so. */
const COLUMN_IS_GONE = /column .* does not exist|has no column/;

/**
 * Watches what backfills send: rows as they were committed, each under one id, never older than what the receiver was sent
 * of it before, and of each one that is done every row that was there all the time.
 */
export class BackfillCheck {
  readonly #backfills: ReadonlyMap<string, BackfillFacts>;
  readonly #contents: RowContents;
  readonly #violations: Violations;
  readonly #byId = new Map<string, Sent>();
  readonly #idOfRow = new Map<string, string>();
  /** The newest version that a backfill has sent, by webhook and document. */
  readonly #newest = new Map<string, number>();
  #repeatedReads = 0;

  constructor(backfills: readonly BackfillFacts[], contents: RowContents, violations: Violations) {
    this.#backfills = new Map(backfills.map((backfill) => [backfill.id, backfill]));
    this.#contents = contents;
    this.#violations = violations;
  }

  /** Rows that were accepted. */
  get rows(): number {
    return [...this.#byId.values()].filter((sent) => sent.isAccepted).length;
  }

  /** How often a row came with another body than before. */
  get repeatedReads(): number {
    return this.#repeatedReads;
  }

  arrive(arrival: Arrival, order: LaneOrder): void {
    const backfill = this.#backfills.get(backfillOf(arrival.id));
    const { id, webhook, docname, rowSeq, bodyHash } = arrival;
    if (backfill === undefined || backfill.webhook !== webhook || docname === null || rowSeq === null) {
      this.#violations.add("phantom", arrival);
      return;
    }
    const content = this.#contents.get(versionName(backfill.doctype, rowSeq));
    if (content === undefined) this.#violations.add("phantom", arrival);
    else if (content !== arrival.docHash) this.#violations.add("wrong content", { arrival, content });
    const row = rowName(backfill.id, docname);
    const knownId = this.#idOfRow.get(row) ?? id;
    this.#idOfRow.set(row, knownId);
    if (knownId !== id) this.#violations.add("another id for the same change", { first: knownId, second: arrival });
    const sent = this.#byId.get(id) ?? { docname, bodies: new Set<string>(), isAccepted: false };
    this.#byId.set(id, sent);
    if (!sent.bodies.has(bodyHash)) this.#checkOrder(arrival, docname, rowSeq, order);
    if (sent.bodies.size > 0 && !sent.bodies.has(bodyHash)) this.#repeatedReads++;
    sent.bodies.add(bodyHash);
    if (isAccepted(arrival)) sent.isAccepted = true;
  }

  /** Only where it was read anew: what is tried again has its place already. */
  #checkOrder(arrival: Arrival, docname: string, rowSeq: number, order: LaneOrder): void {
    const { webhook, request } = arrival;
    const { earlier, newer } = order.arriveRow(webhook, docname, rowSeq, request);
    if (earlier !== null) this.#violations.add("order inversions", { arrival, earlier });
    const lane = `${webhook} ${docname}`;
    const newest = this.#newest.get(lane) ?? rowSeq;
    if (newer !== null || newest > rowSeq) this.#violations.add("stale backfills", { arrival, newer, newest });
    this.#newest.set(lane, Math.max(newest, rowSeq));
  }

  /** @param delivered how many rows of the log say `delivered` of an id, without replays */
  conclude(delivered: ReadonlyMap<string, number>, order: LaneOrder): void {
    for (const backfill of this.#backfills.values()) {
      const { id, state, error, before, after, isConditional, condition } = backfill;
      if (state === "failed" && !COLUMN_IS_GONE.test(error ?? "")) {
        this.#violations.add("backfill rows missing", { backfill: id, error });
      }
      if (state !== "done" || after === null) continue;
      for (const [docname, first] of before) {
        const last = after.get(docname);
        // Gone, or not meant any more.
        if (last === undefined) continue;
        const hasChanged = last !== first;
        if (hasChanged && (isConditional || condition !== null)) continue;
        const sentId = this.#idOfRow.get(rowName(id, docname));
        const isSent = sentId !== undefined && this.#byId.get(sentId)?.isAccepted === true;
        const isLogged = sentId !== undefined && delivered.get(sentId) === 1;
        if (isSent && (isLogged || hasChanged)) continue;
        if (hasChanged && order.hasBetween(backfill.webhook, docname, first, last)) continue;
        const found = { isSent, isLogged, id: sentId ?? null };
        this.#violations.add("backfill rows missing", { backfill: id, docname, first, last, ...found });
      }
    }
  }

  /** Whether the log may say so often of this id that it was delivered: what is read anew may be left to a newer change. */
  mayBeLogged(id: string, rows: number): boolean {
    return rows === 0 || (rows === 1 && this.#byId.get(id)?.isAccepted === true);
  }

  isOwn(id: string): boolean {
    return this.#byId.has(id);
  }
}

function rowName(backfillId: string, docname: string): string {
  return `${backfillId} ${docname}`;
}

/** The number of the backfill is in the first 64 of the id's 240 bits, which are digits of base32hex. */
export function backfillOf(deliveryId: string): string {
  let bits = 0n;
  for (const digit of deliveryId.slice("msg_".length, "msg_".length + 13)) {
    bits = (bits << 5n) | BigInt(Number.parseInt(digit, 32));
  }
  return String(bits >> 1n);
}
