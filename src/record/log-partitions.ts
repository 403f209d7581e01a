import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";

const DAYS_AHEAD = 7;
const EVERY_MS = 3_600_000;

/**
 * Makes the log's partitions days ahead and drops those past their time, at the start and every hour. A
 * failure never stops delivery: rows without a partition of their own go to the default partition, and the
 * next round tries again.
 */
export class LogPartitions {
  readonly #db: Kysely<Database>;
  readonly #retentionDays: number;
  readonly #onProblem: (error: unknown) => void;
  #timer: NodeJS.Timeout | null = null;

  constructor(db: Kysely<Database>, retentionDays: number, onProblem: (error: unknown) => void) {
    this.#db = db;
    this.#retentionDays = retentionDays;
    this.#onProblem = onProblem;
  }

  start(): void {
    void this.#maintain();
    this.#timer = setInterval(() => void this.#maintain(), EVERY_MS);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  async #maintain(): Promise<void> {
    try {
      await sql`select walhook.add_log_partitions(${DAYS_AHEAD})`.execute(this.#db);
      await sql`select walhook.drop_log_partitions(make_interval(days => ${this.#retentionDays}), null)`.execute(
        this.#db,
      );
      // What a busy table kept from being restored when its last webhook went.
      await sql`select walhook.settle_replica_identities()`.execute(this.#db);
    } catch (error) {
      this.#onProblem(error);
    }
  }
}
