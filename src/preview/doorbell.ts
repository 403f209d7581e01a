import type { Queryable } from "../db/queryable.ts";

const EVERY_MS = 250;
/** From this version on a logical message is flushed by whoever writes it. */
const FLUSHED_SINCE = 170_000;

/**
 * Before PostgreSQL 17 a message that is not bound to a commit lies unflushed, and so unseen, until something else is
 * written. Whoever asks raises a sequence, whose value is seen at once: where it has moved, this commits, which flushes.
 * Nothing is written while nobody asks.
 */
export class Doorbell {
  readonly #db: Queryable;
  #seen: string | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(db: Queryable) {
    this.#db = db;
  }

  start(): void {
    this.#looking = this.#begin().catch(() => {});
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#looking;
  }

  async #begin(): Promise<void> {
    const { rows } = await this.#db.query("select current_setting('server_version_num')::integer as version");
    if ((rows[0] as { version: number }).version >= FLUSHED_SINCE) return;
    await this.#look();
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      // A connection that is lost is noticed by those whose work it is.
      this.#looking = this.#look()
        .catch(() => {})
        .then(() => this.#schedule());
    }, EVERY_MS);
  }

  async #look(): Promise<void> {
    const { rows } = await this.#db.query("select last_value::text || is_called as rung from walhook.doorbell");
    const { rung } = rows[0] as { rung: string };
    const isNew = this.#seen !== null && rung !== this.#seen;
    this.#seen = rung;
    if (isNew) await this.#db.query("select pg_logical_emit_message(true, 'walhook flush', '')");
  }
}
