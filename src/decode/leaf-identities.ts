import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Leaf } from "./relation-tracker.ts";

const RETRY_MS = 5_000;

/**
 * Partitions that came after their webhook inherit the publication but not the replica identity. When the
 * first change of a leaf shows that its old rows are not whole, the identity is set where a webhook needs
 * it; changes before that have an unknown old row. The database decides whether it is needed.
 */
export class LeafIdentities {
  readonly #db: Kysely<Database>;
  readonly #underway = new Set<number>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #isClosed = false;

  constructor(db: Kysely<Database>) {
    this.#db = db;
  }

  /** Looks at a leaf whose first change on this connection has arrived. */
  notice({ leafOid, hasFullIdentity }: Leaf): void {
    if (hasFullIdentity || this.#underway.has(leafOid)) return;
    this.#underway.add(leafOid);
    void this.#ensure(leafOid);
  }

  close(): void {
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  async #ensure(leafOid: number): Promise<void> {
    try {
      const { rows } = await sql<{ done: string | null }>`
        select walhook.ensure_leaf_identity(${leafOid}::bigint::oid) as done`.execute(this.#db);
      if (rows[0]?.done === "locked") return this.#again(leafOid);
      this.#underway.delete(leafOid);
    } catch {
      // Never worth ending the stream: the rows stay undecidable, which the log says, until it succeeds.
      this.#again(leafOid);
    }
  }

  #again(leafOid: number): void {
    if (this.#isClosed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void this.#ensure(leafOid);
    }, RETRY_MS);
    this.#timers.add(timer);
  }
}
