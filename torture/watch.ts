import type pg from "pg";
import type { Contender } from "./faults/fault.ts";
import type { World } from "./world.ts";

const EVERY_MS = 1000;

/** Looks at the run about once a second: how much WAL the slot retains, how much memory the bridges have. */
export class Watch {
  maxRetainedBytes = 0;
  maxResidentMb = 0;
  readonly #world: World;
  readonly #contenders: readonly Contender[];
  readonly #timer: NodeJS.Timeout;
  #client: pg.Client | null = null;
  #isLooking = false;

  constructor(world: World, contenders: readonly Contender[]) {
    this.#world = world;
    this.#contenders = contenders;
    this.#timer = setInterval(() => void this.#look(), EVERY_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#client?.end().catch(() => {});
  }

  async #look(): Promise<void> {
    for (const { process } of this.#contenders) {
      this.maxResidentMb = Math.max(this.maxResidentMb, process.maxResidentMb);
    }
    if (this.#isLooking) return;
    this.#isLooking = true;
    try {
      this.#client ??= await this.#world.connect("postgres");
      const { rows } = await this.#client.query<{ bytes: number }>(
        `select pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::float8 as bytes
         from walhook.bridge b join pg_replication_slots s on s.slot_name = b.slot_name`,
      );
      this.maxRetainedBytes = Math.max(this.maxRetainedBytes, rows[0]?.bytes ?? 0);
    } catch {
      // The server is away: a fault, and nothing to look at.
      await this.#client?.end().catch(() => {});
      this.#client = null;
    } finally {
      this.#isLooking = false;
    }
  }
}
