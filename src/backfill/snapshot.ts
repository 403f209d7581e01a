/** Which transactions a query saw: what `pg_current_snapshot()` says, for the 32 bits of a transaction id that the stream has. */
export class Snapshot {
  readonly #xmin: number;
  readonly #xmax: number;
  readonly #running: ReadonlySet<number>;

  /** @param text `xmin:xmax:xip,…`, 64 bits each, with top-level transactions alone, as those of the stream are */
  constructor(text: string) {
    const [xmin = "0", xmax = "0", running = ""] = text.split(":");
    this.#xmin = low32(xmin);
    this.#xmax = low32(xmax);
    this.#running = new Set(running === "" ? [] : running.split(",").map(low32));
  }

  /** Whether what this transaction did was seen. It is known to have committed, less than 2^31 transactions away. */
  sees(xid: number): boolean {
    if (isBefore(xid, this.#xmin)) return true;
    return isBefore(xid, this.#xmax) && !this.#running.has(xid);
  }
}

function low32(text: string): number {
  return Number(BigInt(text) & 0xffff_ffffn);
}

/** In the circle of 32 bits. */
function isBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}
