import type { Frame } from "../../src/replication/frame.ts";
import { lsnAt, type SimulatedWal } from "./cursor-simulation-wal.ts";

export const DATA_OID = 1;
export const CONFIGURATION_OID = 2;

const BEGIN = Buffer.alloc(21);
BEGIN.write("B");
const COMMIT = Buffer.alloc(26);
COMMIT.write("C");
/** A row without columns: its place is all that matters. */
const INSERT = Buffer.from([0x49, 0, 0, 0, DATA_OID, 0x4e, 0, 0]);
/** One column of one byte: the number of its transaction. */
const CONFIGURE = Buffer.from([0x49, 0, 0, 0, CONFIGURATION_OID, 0x4e, 0, 1, 0x74, 0, 0, 0, 1, 0x30]);

/** The server's side of one replication connection: frames as pgoutput writes them, keepalives among them. */
export class SimulatedServer {
  readonly #wal: SimulatedWal;
  readonly #below: (n: number) => number;
  #transaction = 0;
  /** 0: Begin comes next; then the changes; then the Commit. */
  #step = 0;

  /** Sends each transaction whose COMMIT record starts at or behind `confirmed`. */
  constructor(wal: SimulatedWal, confirmed: number, below: (n: number) => number) {
    this.#wal = wal;
    this.#below = below;
    while (!this.isDone && (wal.commit[this.#transaction] as number) < confirmed) this.#transaction++;
  }

  /** Nothing but keepalives comes any more. */
  get isDone(): boolean {
    return this.#transaction === this.#wal.size;
  }

  get isInside(): boolean {
    return this.#step > 0;
  }

  /** What comes next on the wire. Its bytes last until the next call. */
  next(): Frame {
    if (this.isDone || this.#below(5) === 0) return { kind: "keepalive", lsn: lsnAt(this.#keepalive()) };
    const { commit, end, first, skipsEmpty } = this.#wal;
    const t = this.#transaction;
    const count = (first[t + 1] as number) - (first[t] as number);
    const lsn = lsnAt(commit[t] as number);
    const endLsn = lsnAt(end[t] as number);
    if (this.#step === 0 && count === 0 && skipsEmpty) {
      this.#transaction++;
      return { kind: "keepalive", lsn: endLsn };
    }
    if (this.#step === 0) {
      this.#step = 1;
      BEGIN.writeBigUInt64BE(lsn, 1);
      return { kind: "data", lsn, bytes: BEGIN };
    }
    if (this.#step <= count) return this.#change((first[t] as number) + this.#step++ - 1, t);
    this.#transaction++;
    this.#step = 0;
    COMMIT.writeBigUInt64BE(lsn, 2);
    COMMIT.writeBigUInt64BE(endLsn, 10);
    return { kind: "data", lsn: endLsn, bytes: COMMIT };
  }

  #change(c: number, t: number): Frame {
    const lsn = lsnAt(this.#wal.lsn[c] as number);
    if (this.#wal.isConfiguration[c] !== true) return { kind: "data", lsn, bytes: INSERT };
    CONFIGURE[13] = 0x30 + t;
    return { kind: "data", lsn, bytes: CONFIGURE };
  }

  /** Whatever has been read of the log: up to the next COMMIT record; inside of a transaction beyond it. */
  #keepalive(): number {
    const { commit, end, size } = this.#wal;
    const t = this.#transaction;
    const low = t === 0 ? 0 : (end[t - 1] as number);
    if (t === size) return low + this.#below(3);
    const high = commit[t] as number;
    if (this.isInside) return high + this.#below((end[t] as number) - high + 1);
    switch (this.#below(4)) {
      case 0:
        // Right after START_REPLICATION a server may still be reading what was confirmed long ago.
        return this.#below(low + 1);
      case 1:
        return low;
      case 2:
        return high;
      default:
        return low + this.#below(high - low + 1);
    }
  }
}
