import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";

const AFTER_MS = 10_000;

/**
 * Merges what checkpoints append to the rollup, some seconds after they did: one row a minute and key is left. While
 * nothing is appended it does nothing. A failure harms nobody, since readers sum up; the next append makes it try again.
 */
export class RollupMerger {
  readonly #db: Kysely<Database>;
  readonly #afterMs: number;
  #timer: NodeJS.Timeout | null = null;
  #merging: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(db: Kysely<Database>, afterMs: number = AFTER_MS) {
    this.#db = db;
    this.#afterMs = afterMs;
  }

  /** A checkpoint has appended something, or an earlier process may have. */
  readonly poke = (): void => {
    if (this.#timer !== null || this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#merging = this.#merge();
    }, this.#afterMs);
    this.#timer.unref();
  };

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#merging;
  }

  async #merge(): Promise<void> {
    await sql`select walhook.merge_rollup()`.execute(this.#db).catch(() => {});
  }
}
