import { closeSync, fdatasync, openSync, writeSync } from "node:fs";
import { promisify } from "node:util";

const sync = promisify(fdatasync);

/** A file that only grows, and says when a line is on the disk. Lines that come together share one sync. */
export class DurableFile {
  readonly #fd: number;
  #next: Promise<void> | null = null;
  #current: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#fd = openSync(path, "a");
  }

  /** Resolves when the line is on the disk. */
  append(line: string): Promise<void> {
    writeSync(this.#fd, `${line}\n`);
    this.#next ??= this.#current.then(() => {
      this.#next = null;
      this.#current = sync(this.#fd);
      return this.#current;
    });
    return this.#next;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
