import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";

/**
 * How many rows the queue has of each webhook, but for dead letters that hold nothing up. All that memory knows of the queue: while
 * it is zero, events go straight out and nobody has to ask the table.
 */
export class ParkedCount {
  readonly #counts: Map<number, number>;

  private constructor(counts: Map<number, number>) {
    this.#counts = counts;
  }

  /** Counts once; from then on whoever writes the queue tells. */
  static async read(db: Kysely<Database>): Promise<ParkedCount> {
    const rows = await db
      .selectFrom("walhook.webhook_queue")
      .select(["webhook_id", sql<number>`count(*)::int`.as("count")])
      .where((eb) => eb.or([eb("is_dead", "=", false), eb("holds_lane", "=", true)]))
      .groupBy("webhook_id")
      .execute();
    return new ParkedCount(new Map(rows.map(({ webhook_id, count }) => [webhook_id, count])));
  }

  of(webhookId: number): number {
    return Math.max(0, this.#counts.get(webhookId) ?? 0);
  }

  get isZero(): boolean {
    return this.#counts.size === 0;
  }

  /** The webhooks that have any. */
  webhookIds(): Iterable<number> {
    return this.#counts.keys();
  }

  /** @param delta rows that came, or left, by webhook; that one left may be told before that it came */
  add(delta: ReadonlyMap<number, number>): void {
    for (const [webhookId, by] of delta) {
      const count = (this.#counts.get(webhookId) ?? 0) + by;
      if (count === 0) this.#counts.delete(webhookId);
      else this.#counts.set(webhookId, count);
    }
  }
}
