import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";

const DAYS_AHEAD = 7;
const EVERY_MS = 3_600_000;

/**
 * Makes the log's partitions days ahead and drops those past their time, at the start and every hour. A
 * failure never stops delivery: rows without a partition of their own go to the default partition, and the
 * next round tries again. What it did, or why it could not, stands in `walhook.bridge.maintenance`.
 */
export class LogPartitions {
  readonly #db: Kysely<Database>;
  readonly #retentionDays: number;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();

  constructor(db: Kysely<Database>, retentionDays: number) {
    this.#db = db;
    this.#retentionDays = retentionDays;
  }

  start(): void {
    const begin = (): void => void (this.#round = this.#maintain());
    begin();
    this.#timer = setInterval(begin, EVERY_MS);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#round;
  }

  async #maintain(): Promise<void> {
    const words = await this.#work().catch((error: unknown) => `failed: ${String(error)}`);
    // The same words again are no news, and an idle bridge writes nothing.
    await sql`
      update walhook.bridge set maintenance = ${words}, maintenance_at = now()
      where maintenance is distinct from ${words}`
      .execute(this.#db)
      .catch(() => {});
  }

  async #work(): Promise<string> {
    const { rows: added } = await sql<{ words: string }>`
      select walhook.add_log_partitions(${DAYS_AHEAD}) as words`.execute(this.#db);
    const { rows: dropped } = await sql<{ words: string }>`
      select walhook.drop_log_partitions(make_interval(days => ${this.#retentionDays}), null) as words`.execute(
      this.#db,
    );
    // What a busy table kept from being restored when its last webhook went.
    await sql`select walhook.settle_replica_identities()`.execute(this.#db);
    return [...added, ...dropped].map(({ words }) => words).join("; ");
  }
}
