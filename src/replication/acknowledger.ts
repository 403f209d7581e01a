import { type Lsn, formatLsn } from "./lsn.ts";

/** Acknowledgements are sent no closer together than this. */
const ACKNOWLEDGE_EVERY_MS = 100;
/** Answers to the server's requests likewise: a server that shuts down repeats its request at once. */
const ANSWER_EVERY_MS = 10;

/** The library's `acknowledge`: it writes the LSN it is given plus one, as write, flush and apply position. */
export type SendStatus = (lsn: string, requestReply: boolean) => void;

/**
 * What the server is told of our progress: never less than before, exact to the byte, and not more often
 * than needed.
 *
 * LSNs from the server (end of a commit, keepalive) already point behind the last byte. One more, and a
 * transaction whose Commit record begins exactly there is never sent again after a restart: it is lost.
 */
export class Acknowledger {
  readonly #send: SendStatus;
  #lsn: Lsn;
  #sentAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #dueAt = Number.POSITIVE_INFINITY;

  /** `confirmed`: where the slot stands: telling it that again moves nothing. */
  constructor(confirmed: Lsn, send: SendStatus) {
    this.#lsn = confirmed;
    this.#send = send;
  }

  /** What the server has been told, or will be within 100 ms. */
  get lsn(): Lsn {
    return this.#lsn;
  }

  /** Everything that ended at or before `lsn` is done with. Smaller than before: no effect. */
  acknowledge(lsn: Lsn): void {
    if (lsn <= this.#lsn) return;
    this.#lsn = lsn;
    this.#sendWithin(ACKNOWLEDGE_EVERY_MS);
  }

  /** The server asked for a sign of life. */
  answer(): void {
    this.#sendWithin(ANSWER_EVERY_MS);
  }

  /** Sends now. `requestReply` makes the server answer with a keepalive. */
  sendNow(requestReply: boolean): void {
    this.close();
    this.#sentAt = performance.now();
    // 0 is "nothing yet"; the library turns it into 0/1, which moves no slot forward.
    this.#send(formatLsn(this.#lsn === 0n ? 0n : this.#lsn - 1n), requestReply);
  }

  /** Sends nothing any more that was only planned. */
  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#dueAt = Number.POSITIVE_INFINITY;
  }

  #sendWithin(gapMs: number): void {
    const now = performance.now();
    const dueAt = this.#sentAt + gapMs;
    if (dueAt <= now) {
      this.sendNow(false);
    } else if (dueAt < this.#dueAt) {
      this.close();
      this.#dueAt = dueAt;
      this.#timer = setTimeout(() => this.sendNow(false), dueAt - now);
    }
  }
}
