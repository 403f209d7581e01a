import { type Lsn, parseLsn } from "../replication/lsn.ts";
import type { Queryable } from "../db/queryable.ts";
import { Poll } from "../poll.ts";
import { publicationGap } from "./find-gap.ts";
import { PUBLICATION_PROBLEMS, type PublicationProblem } from "./gap-facts.ts";
import { GapError } from "./gap.ts";

const EVERY_MS = 1_000;

const LOOK = `
  select current_setting('server_version_num')::integer as version_number, pg_current_wal_lsn()::text as wal_lsn,
         (select b.flush_lsn::text from walhook.bridge as b) as flush_lsn, ${PUBLICATION_PROBLEMS} as problems`;

interface Look {
  readonly version_number: number;
  readonly wal_lsn: string;
  readonly flush_lsn: string | null;
  readonly problems: readonly PublicationProblem[];
}

/**
 * Looks at the publications about once a second, since the server says nothing, or only to its own log, when a table
 * or a publication that the stream needs is taken away. Writes nothing.
 */
export class PublicationWatch {
  readonly #db: Queryable;
  /** Where the WAL ended at the last look but one that found nothing missing: whatever is missing now was taken away after it. */
  #seenLsn: Lsn | null;
  #lastLsn: Lsn | null;
  readonly #poll: Poll;

  /**
   * @param seenLsn where the WAL ended when the publications were known to be whole
   * @param onGap told once what is missing, as a `GapError`, or what kept it from looking
   */
  constructor(db: Queryable, seenLsn: Lsn | null, onGap: (error: unknown) => void) {
    this.#db = db;
    this.#seenLsn = seenLsn;
    this.#lastLsn = seenLsn;
    this.#poll = new Poll(
      () => this.#look(),
      () => EVERY_MS,
      onGap,
    );
  }

  start(): void {
    this.#poll.start();
  }

  close(): Promise<void> {
    return this.#poll.close();
  }

  async #look(): Promise<void> {
    const { rows } = await this.#db.query(LOOK);
    const { version_number, wal_lsn, flush_lsn, problems } = rows[0] as Look;
    const walLsn = parseLsn(wal_lsn);
    const flushLsn = flush_lsn === null ? null : parseLsn(flush_lsn);
    const gap = publicationGap(problems, { versionNumber: version_number, flushLsn, walLsn }, this.#seenLsn);
    if (gap !== null) throw new GapError(gap);
    this.#seenLsn = this.#lastLsn;
    this.#lastLsn = walLsn;
  }
}
