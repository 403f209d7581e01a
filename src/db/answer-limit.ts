import type pg from "pg";
import { socketOf } from "./socket-of.ts";

/**
 * Breaks a connection off where a statement answers more than it may: rows with all messages that somebody's expression raises on
 * the way. A notice of 600 MB would be one text to the driver, and end the process.
 */
export class AnswerLimit {
  readonly #maxBytes: number;
  readonly #stop: () => void;
  #bytesRead = 0;

  constructor(client: pg.ClientBase, maxBytes: number) {
    this.#maxBytes = maxBytes;
    const socket = socketOf(client);
    const count = ({ length }: Buffer): void => {
      this.#bytesRead += length;
      if (this.isExceeded) socket.destroy();
    };
    socket.on("data", count);
    this.#stop = () => socket.off("data", count);
  }

  get isExceeded(): boolean {
    return this.#bytesRead > this.#maxBytes;
  }

  /** Another statement begins. */
  reset(): void {
    this.#bytesRead = 0;
  }

  /** From here on the connection may answer whatever it likes. */
  [Symbol.dispose](): void {
    this.#stop();
  }
}
