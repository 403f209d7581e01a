import type { Lsn } from "../../src/replication/lsn.ts";

/** So that the LSNs of a schedule lie on both sides of a border between the halves of their text form. */
const BASE = 0x15_f800_0000n;
/** Bytes from one place to the next: the WAL that may go unstored is a few dozen of them. */
const STEP = 512 * 1024;
const LSNS: readonly Lsn[] = Array.from({ length: 1024 }, (_, place) => BASE + BigInt(place * STEP));

/** Places are small whole numbers here, since arithmetic on them is what a schedule does most. */
export function lsnAt(place: number): Lsn {
  return LSNS[place] ?? BASE + BigInt(place * STEP);
}

/** Exact to the byte: an LSN between two places is a fraction. */
export function placeOf(lsn: Lsn): number {
  return Number(lsn - BASE) / STEP;
}

/** One byte, as a part of the way from one place to the next. */
export const BYTE: number = 1 / STEP;

/** Where the log begins. */
const FIRST = 60;
export const MAX_TRANSACTIONS = 8;
/** Deliveries have numbers: those of change `c` are `2 * c` and `2 * c + 1`. */
export const MAX_DELIVERIES = 2 * MAX_TRANSACTIONS * 6;

/**
 * A short write-ahead log as a decoder sees it: transactions in the order of their commits, their changes
 * written anywhere before. Often a COMMIT record begins where the one before it ends. Arrays are used again.
 */
export class SimulatedWal {
  size = 0;
  /** Whether transactions without published changes are not even begun on the wire, as since PostgreSQL 15. */
  skipsEmpty = false;
  /** By transaction: places of the COMMIT record's start and end. */
  readonly commit: number[] = [];
  readonly end: number[] = [];
  /** By transaction: its first change; one more entry behind the last. */
  readonly first: number[] = [];
  /** By transaction: how many of its changes are configuration. */
  readonly configured: number[] = [];
  /** By change. */
  readonly lsn: number[] = [];
  readonly index: number[] = [];
  readonly isConfiguration: boolean[] = [];
  readonly deliveries: number[] = [];
  /** By the place of a COMMIT record: its transaction, or -1. */
  readonly #byCommit = new Int8Array(LSNS.length).fill(-1);

  /** @param below gives a whole number in [0, n) */
  generate(below: (n: number) => number): void {
    for (let t = 0; t < this.size; t++) this.#byCommit[this.commit[t] as number] = -1;
    this.size = 1 + below(MAX_TRANSACTIONS);
    this.skipsEmpty = below(2) === 0;
    let at = FIRST;
    let change = 0;
    for (let t = 0; t < this.size; t++) {
      if (below(5) < 2) at += 1 + below(20);
      this.commit[t] = at;
      this.#byCommit[at] = t;
      this.first[t] = change;
      const kind = below(8);
      const count = kind < 2 ? 0 : 1 + below(6);
      let configured = 0;
      let lsn = at - 40;
      for (let i = 0; i < count; i++, change++) {
        const isSame = i > 0 && below(3) === 0;
        if (!isSame) lsn += 1 + below(6);
        this.lsn[change] = lsn;
        this.index[change] = isSame ? (this.index[change - 1] as number) + 1 : 0;
        const isConfiguration = kind === 2 && (i === 0 || below(2) === 0);
        this.isConfiguration[change] = isConfiguration;
        if (isConfiguration) configured++;
        const many = below(10);
        this.deliveries[change] = isConfiguration || many === 0 ? 0 : many === 1 ? 2 : 1;
      }
      this.configured[t] = configured;
      at += 1 + below(40);
      this.end[t] = at;
    }
    this.first[this.size] = change;
  }

  /** The end of everything. */
  get tail(): number {
    return this.end[this.size - 1] as number;
  }

  isCommit(place: number): boolean {
    return (this.#byCommit[place] ?? -1) >= 0;
  }

  /** The change at a place, or -1. */
  changeAt(commit: number, lsn: number, index: number): number {
    const t = this.#byCommit[commit] ?? -1;
    if (t < 0) return -1;
    for (let c = this.first[t] as number; c < (this.first[t + 1] as number); c++) {
      if (this.lsn[c] === lsn && this.index[c] === index) return c;
    }
    return -1;
  }
}
