import type pg from "pg";
import type { Asked, AskedBackfill } from "../repairs/asked.ts";
import type { WatchedWebhook } from "../workload/webhooks.ts";
import type { BackfillFacts, RowContents } from "./backfill-check.ts";
import { readReplays, type ReplayFacts } from "./replay-differences.ts";

/** What was asked for beside changes, and what the database says of it. */
export interface RepairFacts {
  readonly backfills: readonly BackfillFacts[];
  readonly replays: readonly ReplayFacts[];
  /** Versions of the rows of tables that were read. */
  readonly contents: RowContents;
}

export const NO_REPAIRS: RepairFacts = { backfills: [], replays: [], contents: new Map() };

export async function readRepairs(
  client: pg.ClientBase,
  asked: Asked,
  webhooks: readonly WatchedWebhook[],
  contents: RowContents,
): Promise<RepairFacts> {
  const backfills = await readBackfills(client, asked.backfills, webhooks);
  return { backfills, replays: await readReplays(client, asked.replays), contents };
}

async function readBackfills(
  client: pg.ClientBase,
  asked: readonly AskedBackfill[],
  webhooks: readonly WatchedWebhook[],
): Promise<readonly BackfillFacts[]> {
  const { rows } = await client.query<{ id: string; state: string; error: string | null }>(
    "select backfill_id::text as id, state, error from walhook.backfill_progress",
  );
  const byId = new Map(rows.map((row) => [row.id, row]));
  return asked.flatMap((backfill) => {
    const progress = byId.get(backfill.id);
    if (progress === undefined) return [];
    const webhook = webhooks.find(({ name }) => name === backfill.webhook);
    return [{ ...backfill, ...progress, isConditional: webhook?.condition !== undefined }];
  });
}
