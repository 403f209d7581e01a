import type pg from "pg";
import { DOC_EVENT_NUMBERS } from "../events/doc-event.ts";
import { formatLsn } from "../replication/lsn.ts";
import { copyBytes, copyMicroseconds, copyRows, copyText, copyTime, NULL } from "./copy-text.ts";
import type { QueueState } from "./checkpoint-plan.ts";

const COLUMNS = [
  "delivery_id",
  "webhook_id",
  "webhook",
  "kind",
  "doctype",
  "docname",
  "old_docname",
  "is_barrier",
  "docevent",
  "event_number",
  "source",
  "commit_lsn",
  "change_lsn",
  "change_index",
  "xid",
  "commit_time",
  "attempts",
  "due_at",
  "last_error",
  "is_dead",
  "is_ordered",
  "holds_lane",
  "batch_id",
  "method",
  "url",
  "content_type",
  "headers",
  "body",
  "change",
] as const;

/** Writes deliveries that are open into the queue, inside the transaction that is open on `client`. */
export async function copyToQueue(client: pg.ClientBase, states: readonly QueueState[], nowMs: number): Promise<void> {
  await copyRows(client, { table: "walhook.webhook_queue", columns: COLUMNS }, states, (state) =>
    toQueueLine(state, nowMs),
  );
}

function toQueueLine(state: QueueState, nowMs: number): string {
  const { ticket, attempts, lastError, isDead, holdsLane } = state;
  const { delivery, request, change, isBarrier } = ticket;
  const { position } = delivery;
  return [
    delivery.id,
    delivery.webhookId,
    copyText(delivery.webhookName),
    request === null ? "undecided" : "request",
    copyText(delivery.doctype),
    copyText(delivery.docname),
    copyText(delivery.oldDocname),
    isBarrier ? "t" : "f",
    delivery.docevent,
    DOC_EVENT_NUMBERS[delivery.docevent],
    delivery.source,
    formatLsn(position.commitLsn),
    formatLsn(position.changeLsn),
    position.index,
    delivery.xid,
    copyMicroseconds(delivery.commitTimeUs),
    attempts,
    copyTime(queueDueAtMs(state, nowMs)),
    copyText(lastError),
    isDead ? "t" : "f",
    delivery.isOrdered ? "t" : "f",
    holdsLane ? "t" : "f",
    ticket.batch?.id ?? NULL,
    request?.method ?? NULL,
    copyText(request?.url ?? null),
    copyText(request?.contentType ?? null),
    request === null ? NULL : copyText(JSON.stringify(request.headers)),
    copyBytes(request?.body ?? null),
    copyText(change),
  ].join("\t");
}

/**
 * When a row is due, in ms since 1970; null: blocked until its lane is free, or dead. What is being sent is due at
 * once for whoever takes over, and what stands in no lane is blocked by nothing.
 */
export function queueDueAtMs({ ticket, dueAtMs, isDead, isSending }: QueueState, nowMs: number): number | null {
  if (isDead) return null;
  if (isSending) return nowMs;
  return ticket.delivery.isOrdered ? dueAtMs : (dueAtMs ?? nowMs);
}
