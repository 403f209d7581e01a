import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { World } from "./world.ts";

/** What is left when no more changes are made and nothing disturbs any more. */
export interface Drained {
  readonly ms: number;
  /** What was still open when nothing went on any more; null where all is done. */
  readonly leftOver: string | null;
  readonly deadLetters: readonly Readonly<Record<string, unknown>>[];
}

interface Open {
  readonly behind: boolean;
  readonly flushed: string;
  readonly queued: number;
  /** Backfills and replays that have not ended. */
  readonly repairs: number;
}

const OPEN = `
  select s.confirmed_flush_lsn < $1::pg_lsn as behind, s.confirmed_flush_lsn::text as flushed,
    (select count(*)::int from walhook.webhook_queue where not is_dead) as queued,
    (select count(*)::int from walhook.backfill_progress where state in ('new', 'running', 'paused'))
      + (select count(*)::int from walhook.replay_progress where state in ('new', 'running')) as repairs
  from walhook.bridge b join pg_replication_slots s on s.slot_name = b.slot_name`;

/**
 * Waits until the slot has been told everything that is committed now, backfills and replays have ended, and the queue
 * holds nothing but dead letters.
 * A slow machine may take its time: it is over when nothing has arrived, been acknowledged, or left the queue for
 * `stallMs`, and at the latest after `mostMs`.
 */
export async function drain(
  world: World,
  { stallMs, mostMs }: { readonly stallMs: number; readonly mostMs: number },
): Promise<Drained> {
  const begin = Date.now();
  const client = await world.connect("postgres");
  try {
    const target = await client.query<{ lsn: string }>("select pg_current_wal_lsn() as lsn");
    let last = "";
    let changedMs = begin;
    let leftOver: string | null = null;
    for (;;) {
      const { rows } = await client.query<Open>(OPEN, [target.rows[0]?.lsn]);
      const open = rows[0];
      if (open !== undefined && !open.behind && open.queued === 0 && open.repairs === 0) break;
      const now = `${open?.flushed} ${open?.queued} ${open?.repairs} ${statSync(world.arrivals).size}`;
      if (now !== last) changedMs = Date.now();
      last = now;
      if (Date.now() - changedMs > stallMs || Date.now() - begin > mostMs) {
        leftOver =
          open === undefined
            ? "the slot is gone"
            : `acknowledged ${open.flushed}, ${open.queued} in the queue, ${open.repairs} backfills and replays`;
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
