import { setTimeout as sleep } from "node:timers/promises";
import type { World } from "./world.ts";

/** What is left when no more changes are made and nothing disturbs any more. */
export interface Drained {
  readonly ms: number;
  /** What was still open when the time was over; null where all is done. */
  readonly leftOver: string | null;
  readonly deadLetters: readonly Readonly<Record<string, unknown>>[];
}

/** Waits until the slot has been told everything that is committed now, and the queue holds nothing but dead letters. */
export async function drain(world: World, withinMs: number): Promise<Drained> {
  const begin = Date.now();
  const client = await world.connect("postgres");
  try {
    const target = await client.query<{ lsn: string }>("select pg_current_wal_lsn() as lsn");
    const open = `
      select (s.confirmed_flush_lsn < $1::pg_lsn) as behind, pg_wal_lsn_diff($1, s.confirmed_flush_lsn)::float8 as bytes,
        (select count(*)::int from walhook.webhook_queue where not is_dead) as queued
      from walhook.bridge b join pg_replication_slots s on s.slot_name = b.slot_name`;
    let leftOver: string | null = null;
    for (;;) {
      const { rows } = await client.query<{ behind: boolean; bytes: number; queued: number }>(open, [
        target.rows[0]?.lsn,
      ]);
      const [row] = rows;
      if (row !== undefined && !row.behind && row.queued === 0) break;
      if (Date.now() - begin > withinMs) {
        leftOver =
          row === undefined ? "the slot is gone" : `${row.bytes} bytes of WAL, ${row.queued} deliveries in the queue`;
        break;
      }
      await sleep(50);
    }
    const dead = await client.query<Record<string, unknown>>(
      "select delivery_id, webhook, docname, attempts, last_error from walhook.webhook_queue where is_dead",
    );
    return { ms: Date.now() - begin, leftOver, deadLetters: dead.rows };
  } finally {
    await client.end();
  }
}
