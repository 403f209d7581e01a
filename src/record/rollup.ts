import type { AttemptRecord } from "../deliver/attempt-record.ts";
import { isDeclined } from "./decision-copy.ts";

/** How many values each bucket holds, by the bucket's number. */
export type Histogram = ReadonlyMap<number, number>;

/** What a checkpoint logs of one minute, webhook, outcome, error class and host. */
export interface RollupRow {
  /** Milliseconds since 1970, a whole minute: that in which the attempts began. */
  readonly minuteMs: number;
  readonly webhookId: number;
  readonly webhookName: string;
  readonly outcome: string;
  /** Empty: none. */
  readonly errorClass: string;
  /** Host and port, `(dynamic)` where a row decides them; empty where nothing was sent. */
  readonly host: string;
  readonly rows: number;
  readonly requestBytes: number;
  /** Of the attempts' durations. */
  readonly duration: Histogram;
  /** Of the times from commit to the end of the response, of deliveries that succeeded; not of replays, where it would only say when somebody asked. */
  readonly receipt: Histogram;
}

interface Sum {
  readonly minuteMs: number;
  readonly first: AttemptRecord;
  rows: number;
  requestBytes: number;
  readonly duration: Map<number, number>;
  readonly receipt: Map<number, number>;
}

const MINUTE_MS = 60_000;
/** Of what is below 0.0099 ms, and of what is negative since two clocks differ. */
const LOWEST_BUCKET = -233;
const PER_LN = 1 / Math.log(1.02);

/** Counts log rows, in one pass. Tests are left out, being written elsewhere, too; decisions not to send are no log rows. */
export function rollUp(records: readonly AttemptRecord[]): readonly RollupRow[] {
  const sums = new Map<string, Sum>();
  /** By webhook: the next record of one mostly belongs where its last one did. */
  const recent = new Map<number, Sum>();
  for (const record of records) {
    const { delivery, sentAtMs, durationMs, outcome } = record;
    if (delivery.source === "test" || isDeclined(record)) continue;
    const minuteMs = Math.floor(sentAtMs / MINUTE_MS) * MINUTE_MS;
    let sum = recent.get(delivery.webhookId);
    if (sum === undefined || sum.minuteMs !== minuteMs || !isAlike(sum.first, record)) {
      sum = sumOf(sums, record, minuteMs);
      recent.set(delivery.webhookId, sum);
    }
    sum.rows++;
    sum.requestBytes += record.requestBytes ?? 0;
    if (durationMs === null) continue;
    add(sum.duration, bucketOf(durationMs));
    if (outcome !== "delivered" || delivery.source === "replay") continue;
    add(sum.receipt, bucketOf(sentAtMs + durationMs - Number(delivery.commitTimeUs) / 1000));
  }
  return [...sums.values()].map(({ first, ...sum }) => ({
    ...sum,
    webhookId: first.delivery.webhookId,
    webhookName: first.delivery.webhookName,
    host: first.host,
    outcome: first.outcome,
    errorClass: first.errorClass ?? "",
  }));
}

function isAlike(first: AttemptRecord, { host, outcome, errorClass }: AttemptRecord): boolean {
  return first.host === host && first.outcome === outcome && first.errorClass === errorClass;
}

function sumOf(sums: Map<string, Sum>, record: AttemptRecord, minuteMs: number): Sum {
  const key = `${record.delivery.webhookId} ${minuteMs} ${record.outcome} ${record.errorClass ?? ""} ${record.host}`;
  const known = sums.get(key);
  if (known !== undefined) return known;
  const sum = { minuteMs, first: record, rows: 0, requestBytes: 0, duration: new Map(), receipt: new Map() };
  sums.set(key, sum);
  return sum;
}

/** The bucket of a time: bucket b holds what is above 1.02^(b-1) ms and at most 1.02^b ms. `walhook.bucket_ms` goes back. */
export function bucketOf(ms: number): number {
  return ms > 0 ? Math.max(LOWEST_BUCKET, Math.ceil(Math.log(ms) * PER_LN)) : LOWEST_BUCKET;
}

function add(histogram: Map<number, number>, bucket: number): void {
  histogram.set(bucket, (histogram.get(bucket) ?? 0) + 1);
}
