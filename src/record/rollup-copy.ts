import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { Histogram, RollupRow } from "./rollup.ts";

/**
 * Appends what a checkpoint logs to what is counted by minute, in its transaction: so the sums are the log's after any
 * crash. An INSERT of a few rows, where a COPY would cost a stream.
 */
export async function appendRollup(trx: Kysely<Database>, rows: readonly RollupRow[]): Promise<void> {
  if (rows.length === 0) return;
  await sql`
    insert into walhook.rollup_part (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
      duration_buckets, duration_counts, receipt_buckets, receipt_counts)
    select to_timestamp(r.minute_ms / 1000), r.webhook_id, r.webhook, r.outcome, r.error_class, r.host, r.log_rows, r.request_bytes,
      r.duration_buckets::smallint[], r.duration_counts::integer[], r.receipt_buckets::smallint[], r.receipt_counts::integer[]
    from unnest(
      ${rows.map(({ minuteMs }) => minuteMs)}::double precision[],
      ${rows.map(({ webhookId }) => webhookId)}::integer[],
      ${rows.map(({ webhookName }) => webhookName)}::text[],
      ${rows.map(({ outcome }) => outcome)}::text[],
      ${rows.map(({ errorClass }) => errorClass)}::text[],
      ${rows.map(({ host }) => host)}::text[],
      ${rows.map((row) => row.rows)}::integer[],
      ${rows.map(({ requestBytes }) => requestBytes)}::bigint[],
      ${rows.map(({ duration }) => buckets(duration))}::text[],
      ${rows.map(({ duration }) => counts(duration))}::text[],
      ${rows.map(({ receipt }) => buckets(receipt))}::text[],
      ${rows.map(({ receipt }) => counts(receipt))}::text[]
    ) as r (minute_ms, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
      duration_buckets, duration_counts, receipt_buckets, receipt_counts)`.execute(trx);
}

function buckets(histogram: Histogram): string {
  return `{${[...histogram.keys()].join(",")}}`;
}

function counts(histogram: Histogram): string {
  return `{${[...histogram.values()].join(",")}}`;
}
