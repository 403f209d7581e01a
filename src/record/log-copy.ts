import type pg from "pg";
import type { AttemptRecord } from "../deliver/attempt-record.ts";
import { remember } from "../remember.ts";
import { formatLsn } from "../replication/lsn.ts";
import { copyMicroseconds, copyRows, copyText, copyTime, NULL } from "./copy-text.ts";
import { isDeclined } from "./decision-copy.ts";

const COLUMNS = [
  "sent_at",
  "delivery_id",
  "attempt",
  "request_id",
  "webhook_id",
  "webhook",
  "doctype",
  "docname",
  "docevent",
  "source",
  "outcome",
  "status_code",
  "duration_ms",
  "error_class",
  "error",
  "lsn",
  "xid",
  "commit_time",
  "url",
  "method",
  "request_headers",
  "request_body",
  "response_headers",
  "response_body",
  "dns_ms",
  "connect_ms",
  "tls_ms",
  "first_byte_ms",
  "remote_address",
  "key_ids",
  "request_bytes",
  "body_kept",
] as const;

/**
 * Writes log rows inside the transaction that is open on `client`. By COPY: 8-10 µs of this thread a row,
 * against 26-29 for an INSERT from arrays.
 */
export async function copyToLog(client: pg.ClientBase, records: readonly AttemptRecord[]): Promise<void> {
  const logged = records.some(isDeclined) ? records.filter((record) => !isDeclined(record)) : records;
  await copyRows(client, { table: "walhook.webhook_request_log", columns: COLUMNS }, logged, toLogLine);
}

const sentAt = remember(copyTime);
const committedAt = remember(copyMicroseconds);
const lsn = remember(formatLsn);
// The deliveries of a batch share their headers, which are one object.
const requestHeaders = remember(copyHeaders);
const responseHeaders = remember(copyHeaders);

/** One attempt in COPY's text format. */
export function toLogLine(record: AttemptRecord): string {
  const { delivery, trip } = record;
  return [
    sentAt(record.sentAtMs),
    delivery.id,
    record.attempt,
    record.requestId ?? NULL,
    delivery.webhookId,
    copyText(delivery.webhookName),
    copyText(delivery.doctype),
    copyText(delivery.docname),
    delivery.docevent,
    delivery.source,
    record.outcome,
    record.statusCode ?? NULL,
    copyMs(record.durationMs),
    record.errorClass ?? NULL,
    copyText(record.error),
    lsn(delivery.position.commitLsn),
    delivery.xid,
    committedAt(delivery.commitTimeUs),
    copyText(record.url),
    record.method ?? NULL,
    requestHeaders(record.requestHeaders),
    record.requestBody === null ? NULL : copyText(record.requestBody.toString("utf8")),
    responseHeaders(record.responseHeaders),
    copyText(record.responseBody),
    copyMs(trip?.dnsMs),
    copyMs(trip?.connectMs),
    copyMs(trip?.tlsMs),
    copyMs(trip?.firstByteMs),
    trip?.remoteAddress ?? NULL,
    record.keyIds === null ? NULL : `{${record.keyIds.join(",")}}`,
    record.requestBytes ?? NULL,
    record.bodyKept ?? NULL,
  ].join("\t");
}

function copyHeaders(headers: Readonly<Record<string, string>> | null): string {
  return headers === null ? NULL : copyText(JSON.stringify(headers));
}

function copyMs(ms: number | null | undefined): string {
  return ms == null ? NULL : ms.toFixed(3);
}
