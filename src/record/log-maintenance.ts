import { sql, type Kysely, type RawBuilder } from "kysely";
import type { BridgeSettings } from "../bridge-settings.ts";
import type { Database } from "../db/schema.ts";

const DAYS_AHEAD = 7;
const EVERY_MS = 3_600_000;
/**
 * After a round that left something undone: whoever reads the log holds it up, and will have gone at some time. Doubled each
 * time, since a day's bodies may have been written anew in vain.
 */
const AGAIN_MS = 60_000;
/** How long the log keeps what. */
export type Retention = Pick<
  BridgeSettings,
  "retentionDays" | "bodyRetentionDays" | "maxLogBytes" | "rollupRetentionDays"
>;

/** What a round did, in words, and whether it left something undone. */
interface Round {
  readonly words: string;
  readonly isUndone: boolean;
}

/**
 * Makes the log's partitions days ahead and drops those past their time or beyond its size, takes old bodies out, and deletes what was
 * counted or decided long ago, at the start and every hour, or sooner after a round that left something undone. A
 * failure never stops delivery: rows without a partition of their own go to the default partition, and the
 * next round tries again. What it did, or why it could not, stands in `walhook.bridge.maintenance`.
 */
export class LogMaintenance {
  readonly #db: Kysely<Database>;
  readonly #retention: Retention;
  readonly #againMs: number;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();
  #isClosed = false;
  /** Rounds that left something undone, one after the other. */
  #undone = 0;

  constructor(db: Kysely<Database>, retention: Retention, againMs: number = AGAIN_MS) {
    this.#db = db;
    this.#retention = retention;
    this.#againMs = againMs;
  }

  start(): void {
    this.#round = this.#maintain();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#round;
  }

  async #maintain(): Promise<void> {
    const { words, isUndone } = await this.#work();
    // The same words again are no news, and an idle bridge writes nothing.
    await sql`
      update walhook.bridge set maintenance = ${words}, maintenance_at = now()
      where maintenance is distinct from ${words}`
      .execute(this.#db)
      .catch(() => {});
    if (this.#isClosed) return;
    this.#undone = isUndone ? this.#undone + 1 : 0;
    const waitMs = this.#undone === 0 ? EVERY_MS : Math.min(this.#againMs * 2 ** (this.#undone - 1), EVERY_MS);
    this.#timer = setTimeout(() => this.start(), waitMs);
    this.#timer.unref();
  }

  /** One step that fails keeps none of the others from being done. */
  async #work(): Promise<Round> {
    const { retentionDays, bodyRetentionDays, maxLogBytes, rollupRetentionDays } = this.#retention;
    const said: string[] = [];
    let isUndone = false;
    const step = async (name: string, work: () => Promise<readonly string[]>): Promise<void> => {
      try {
        const words = await work();
        said.push(...words);
        isUndone ||= words.some(saysInUse);
      } catch (error) {
        said.push(`${name} failed: ${(error as Error).message}`);
        isUndone = true;
      }
    };
    await step("adding partitions", () => this.#ask(sql`select walhook.add_log_partitions(${DAYS_AHEAD}) as words`));
    await step("dropping partitions", () =>
      this.#ask(
        sql`select walhook.drop_log_partitions(make_interval(days => ${retentionDays}), ${maxLogBytes}::bigint) as words`,
      ),
    );
    await step("taking bodies out", () => this.#takeBodiesOut(bodyRetentionDays));
    await step("deleting what was counted and decided", () =>
      this.#run(
        sql`select walhook.trim_rollup(make_interval(days => ${rollupRetentionDays})), walhook.trim_decisions()`,
      ),
    );
    // What a busy table kept from being restored when its last webhook went.
    await step("restoring replica identities", () => this.#run(sql`select walhook.settle_replica_identities()`));
    return { words: said.join("; "), isUndone };
  }

  async #ask(question: RawBuilder<unknown>): Promise<readonly string[]> {
    const { rows } = await question.execute(this.#db);
    return (rows as readonly { readonly words: string }[]).map(({ words }) => words);
  }

  async #run(work: RawBuilder<unknown>): Promise<readonly string[]> {
    await work.execute(this.#db);
    return [];
  }

  /** One partition a statement, so that each is done by itself, until none is left or one is in use. */
  async #takeBodiesOut(days: number): Promise<readonly string[]> {
    const done: string[] = [];
    while (!this.#isClosed) {
      const [words = ""] = await this.#ask(
        sql`select walhook.thin_log_partition(make_interval(days => ${days})) as words`,
      );
      if (words === "") break;
      done.push(words);
      if (!words.startsWith("took")) break;
    }
    return done;
  }
}

/** How walhook.add_log_partitions, drop_log_partitions and thin_log_partition say that somebody had a partition in use. */
function saysInUse(words: string): boolean {
  return words.includes("next round");
}
