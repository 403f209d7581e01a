import type pg from "pg";

const SAMPLE_EVERY_MS = 100;

/** What the slot holds back: the WAL between now and what it was told, and what the server keeps for it. In MB. */
export class LagWatch {
  readonly #client: pg.Client;
  #timer: NodeJS.Timeout;
  #maxLagMb = 0;
  #maxRetainedMb = 0;
  #asking: Promise<void> = Promise.resolve();

  constructor(client: pg.Client) {
    this.#client = client;
    this.#timer = setTimeout(() => this.#sample(), 0);
  }

  get maxLagMb(): number {
    return this.#maxLagMb;
  }

  get maxRetainedMb(): number {
    return this.#maxRetainedMb;
  }

  reset(): void {
    this.#maxLagMb = 0;
    this.#maxRetainedMb = 0;
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#asking;
    await this.#client.end().catch(() => {});
  }

  #sample(): void {
    this.#asking = this.#ask().finally(() => {
      this.#timer = setTimeout(() => this.#sample(), SAMPLE_EVERY_MS);
    });
  }

  async #ask(): Promise<void> {
    const { rows } = await this.#client
      .query<{ lag: string; retained: string }>(
        `select pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn) / 1048576 as lag,
                pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) / 1048576 as retained
         from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name`,
      )
      .catch(() => ({ rows: [] }));
    this.#maxLagMb = Math.max(this.#maxLagMb, Number(rows[0]?.lag ?? 0));
    this.#maxRetainedMb = Math.max(this.#maxRetainedMb, Number(rows[0]?.retained ?? 0));
  }
}
