import type { ConfigurationChange } from "../decode/chunk.ts";
import type { Conditions } from "../match/conditions.ts";
import type { InForce } from "../match/in-force.ts";
import type { WithoutRights, Match } from "../match/match.ts";
import type { MatchedChunk } from "../match/matcher.ts";
import type { DeliveryId } from "../render/delivery-id.ts";
import { toMicroseconds } from "../to-microseconds.ts";
import { BackfillStopped } from "./backfill-failure.ts";
import { forget, type BackfillJob, type ReadChunk } from "./backfill-job.ts";
import { backfillParts, type BackfillChunk } from "./backfill-parts.ts";
import { matchRows } from "./match-rows.ts";
import { NewerDeliveries } from "./newer-deliveries.ts";

export interface MeetingOptions {
  /** The chunk that ends in the watermark. */
  readonly matched: MatchedChunk;
  readonly inForce: InForce;
  readonly withoutRights: () => WithoutRights;
  readonly conditions: Pick<Conditions, "ask">;
  readonly deliveryId: DeliveryId;
  readonly maxBodyBytes: number;
}

const NOTHING: Iterable<BackfillChunk> = [];

/**
 * The stream has come to a watermark of a backfill. From its low one on deliveries are remembered; at its high one the rows
 * of its last reading are matched, and given out when they are asked for. One that another process wrote is passed by.
 */
export async function meetWatermark(
  job: BackfillJob,
  row: ConfigurationChange["row"],
  options: MeetingOptions,
): Promise<Iterable<BackfillChunk>> {
  if (row["side"] === "low" && row["token"] === job.lowToken) {
    job.newer = new NewerDeliveries(job.relation.oid, job.webhookId);
  }
  const read = job.chunk;
  if (row["side"] !== "high" || read === null || read.token !== row["token"]) return NOTHING;
  const { matched, inForce, withoutRights, conditions } = options;
  const webhook = inForce.webhooks.get(job.webhookId);
  if (webhook !== undefined && webhook.doctypeOid !== read.relation.oid) {
    read.durable.reject(new BackfillStopped("its webhook watches another table by now; cancel it"));
    return NOTHING;
  }
  const { commitLsn } = matched.position;
  const transaction = { commitLsn, commitTimeUs: toMicroseconds(row["written_at"] ?? ""), xid: Number(row["xid"]) };
  const matches = await matchRows({
    rows: read.reading.rows,
    relation: read.relation,
    transaction,
    webhook,
    conditions,
    backfillId: job.id,
    withoutRights: withoutRights(),
  });
  return rowsOf(job, read, matches, job.newer, options);
}

/**
 * The rows of a reading, but for those that have a newer delivery. To be asked for once everything before the watermark is
 * rendered: what could not be rendered is sent by nobody else.
 */
function* rowsOf(
  job: BackfillJob,
  read: ReadChunk,
  matches: readonly Match[],
  newer: NewerDeliveries | null,
  { matched, deliveryId, maxBodyBytes }: MeetingOptions,
): Generator<BackfillChunk> {
  const unseen = newer?.unseen(read.snapshot) ?? null;
  if (unseen === null || matches.some(({ event }) => isAmong(unseen.undecided, event.docname))) {
    // To be read again, from a new low watermark on; that read sees what is undecided now.
    forget(job);
    read.durable.resolve();
    return;
  }
  const { relation, reading, wasPending } = read;
  yield* backfillParts({
    rows: reading.rows,
    relation,
    matches: matches.filter(({ event }) => !isAmong(unseen.sent, event.docname)),
    wasPending,
    deliveryId,
    maxBodyBytes,
    position: matched.position,
    before: job.progress,
    reached: reading.isEnd ? job.until : reading.reached,
    onLast: (progress) => {
      job.progress = progress;
      read.last = progress;
    },
  });
}

function isAmong(names: ReadonlySet<string | null>, name: string | null): boolean {
  return names.has(null) || (name !== null && names.has(name));
}
