import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";

const EVERY_MS = 600_000;

/**
 * Clears away the functions of former conditions. One that no webhook has any more may still be asked about
 * events before the change, so it is noted first and dropped in a later round, once the slot has passed the
 * place where it was noted. A failure is of no consequence: the next round tries again.
 */
export class UnusedConditions {
  readonly #db: Kysely<Database>;
  #noted: { readonly functions: readonly string[]; readonly at_lsn: string } | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(db: Kysely<Database>) {
    this.#db = db;
  }

  start(): void {
    const round = (): void => void this.clear().catch(() => {});
    round();
    this.#timer = setInterval(round, EVERY_MS);
    this.#timer.unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** One round: drops what an earlier one noted, where it is passed, and notes what is unused now. */
  async clear(): Promise<void> {
    if (this.#noted !== null && this.#noted.functions.length > 0) {
      await sql`
        select walhook.drop_conditions(${this.#noted.functions}::text[])
        from walhook.bridge b join pg_catalog.pg_replication_slots s on s.slot_name = b.slot_name
        where s.confirmed_flush_lsn >= ${this.#noted.at_lsn}::pg_lsn`.execute(this.#db);
    }
    const { rows } = await sql<{ functions: string[]; at_lsn: string }>`
      select functions, at_lsn::text from walhook.unused_conditions()`.execute(this.#db);
    this.#noted = rows[0] ?? null;
  }
}
