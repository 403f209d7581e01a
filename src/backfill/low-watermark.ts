import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { BackfillJob } from "./backfill-job.ts";
import type { BackfillStore } from "./backfill-store.ts";

/** How long those that were writing at the watermark are waited for: a commit takes microseconds to be seen. */
const SETTLE_MS = 2000;
/** After that it is said what is waited for. */
const SAY_AFTER_MS = 2000;

/** Writes a low watermark: from there on what the stream delivers is remembered; what came before, all readings see. */
export async function writeLowWatermark(store: BackfillStore, job: BackfillJob, signal: AbortSignal): Promise<void> {
  job.lowToken = randomUUID();
  const waiting = setTimeout(() => {
    store.noteTrouble(job.id, "the commit of its watermark waits for a synchronous standby").catch(() => {});
  }, SAY_AFTER_MS);
  try {
    await store.mark(job.id, job.lowToken, "low");
  } finally {
    clearTimeout(waiting);
  }
  // A commit is in the WAL a moment before it is seen.
  const writers = new Set(await store.writers(job.relation.oid));
  const deadline = Date.now() + SETTLE_MS;
  while (writers.size > 0 && Date.now() < deadline && !signal.aborted) {
    await sleep(2, undefined, { signal }).catch(() => {});
    const present = await store.writers(job.relation.oid);
    for (const xid of writers) if (!present.includes(xid)) writers.delete(xid);
  }
}
