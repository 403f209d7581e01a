import type { Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import { patiently, readBlocked, readUndecided, type WebhookStates } from "../db/webhook-states.ts";
import type { Health } from "../deliver/health.ts";
import { ParkedCount } from "../deliver/parked-count.ts";
import { cancelForgotten } from "./cancel-forgotten.ts";
import { readHealth } from "./webhook-health.ts";

/** What an earlier process has left of deliveries and webhooks, beside the cursor. */
export interface LeftBehind {
  /** What the queue holds, counted once; from then on checkpoints tell. */
  readonly parkedCount: ParkedCount;
  /** What it said of webhooks whose address may not be reached, by webhook number. */
  readonly blocked: ReadonlyMap<number, string>;
  readonly health: ReadonlyMap<number, Health>;
  /** Webhooks that it showed as undecided, and of which something still waits. */
  readonly undecided: readonly number[];
}

/** Ends what it was to end and did not live to see, and reads the rest. */
export async function readLeftBehind(db: Kysely<Database>, states: WebhookStates, epoch: bigint): Promise<LeftBehind> {
  await patiently(db, (trx) => cancelForgotten(trx, epoch));
  const undecided: number[] = [];
  for (const { webhookId, isWaiting } of await readUndecided(db)) {
    if (isWaiting) undecided.push(webhookId);
    else states.show("condition", webhookId, "undecided", null);
  }
  return {
    parkedCount: await ParkedCount.read(db),
    blocked: await readBlocked(db),
    health: await readHealth(db),
    undecided,
  };
}
