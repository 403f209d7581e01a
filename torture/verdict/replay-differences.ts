import type pg from "pg";
import type { AskedReplay } from "../repairs/asked.ts";
import type { LogFacts } from "./log-facts.ts";

/** What `walhook.replay_progress` says of a replay. */
export interface ReplayFacts extends AskedReplay {
  readonly state: string;
  readonly error: string | null;
  /** Null: it was never chosen what it is about. */
  readonly chosen: number | null;
  readonly queued: number;
  readonly skipped: number;
}

export async function readReplays(
  client: pg.ClientBase,
  asked: readonly AskedReplay[],
): Promise<readonly ReplayFacts[]> {
  const { rows } = await client.query<Omit<ReplayFacts, keyof AskedReplay> & { id: string }>(
    `select replay_id::text as id, state, error, deliveries::float8 as chosen, queued::float8 as queued, skipped::float8 as skipped
       from walhook.replay_progress`,
  );
  const byId = new Map(rows.map((row) => [row.id, row]));
  return asked.flatMap((replay) => {
    const progress = byId.get(replay.id);
    return progress === undefined ? [] : [{ ...replay, ...progress }];
  });
}

/** The log's clock has whole milliseconds. */
const TOLERANCE_MS = 2;

/**
 * What replays did that they should not, or did not that they should: all that was chosen was queued, all that was queued
 * was delivered, all that the log had when it was asked for was chosen, and each was sent once more for each time.
 *
 * @param accepted how often the receiver has accepted each delivery
 */
export function replayDifferences(
  replays: readonly ReplayFacts[],
  log: LogFacts,
  accepted: ReadonlyMap<string, number>,
): readonly unknown[] {
  const found: unknown[] = [];
  for (const replay of replays) found.push(...ofReplay(replay, log));
  const queued = replays.reduce((sum, replay) => sum + replay.queued, 0);
  const delivered = [...log.replayed.values()].reduce((sum, times) => sum + times.length, 0);
  if (queued !== delivered) found.push({ queued, delivered });
  for (const [id, { length: times }] of log.replayed) {
    const first = log.delivered.get(id) ?? 0;
    const arrived = accepted.get(id) ?? 0;
    if (first !== 1 || arrived < first + times) found.push({ id, delivered: first, replayed: times, arrived });
  }
  return found;
}

function ofReplay({ deliveries, ...replay }: ReplayFacts, log: LogFacts): readonly unknown[] {
  const { state, chosen, queued, skipped, isStopped, askedAtMs } = replay;
  if (state === "stopped" && isStopped) return [];
  if (state !== "done" || chosen !== queued + skipped) return [replay];
  const isSent = (id: string): boolean =>
    log.replayed.get(id)?.some((atMs) => atMs >= askedAtMs - TOLERANCE_MS) === true;
  const missing = deliveries.filter((id) => !isSent(id));
  return missing.length > skipped ? [{ ...replay, missing: missing.slice(0, 5) }] : [];
}
