import type pg from "pg";
import type { AttemptRecord } from "../deliver/attempt-record.ts";
import { formatLsn } from "../replication/lsn.ts";
import { copyMicroseconds, copyRows, copyText } from "./copy-text.ts";

const COLUMNS = [
  "webhook_id",
  "webhook",
  "doctype",
  "docname",
  "docevent",
  "delivery_id",
  "lsn",
  "xid",
  "commit_time",
  "reason",
] as const;

/** Whether this is a decision not to send, and no row of the log. */
export function isDeclined({ outcome }: AttemptRecord): boolean {
  return outcome === "declined";
}

/** Writes what of these are decisions not to send, inside the transaction that is open on `client`. */
export async function copyDecisions(client: pg.ClientBase, records: readonly AttemptRecord[]): Promise<void> {
  if (!records.some(isDeclined)) return;
  const declined = records.filter(isDeclined);
  await copyRows(client, { table: "walhook.webhook_decision", columns: COLUMNS }, declined, ({ delivery, error }) =>
    [
      delivery.webhookId,
      copyText(delivery.webhookName),
      copyText(delivery.doctype),
      copyText(delivery.docname),
      delivery.docevent,
      delivery.id,
      formatLsn(delivery.position.commitLsn),
      delivery.xid,
      copyMicroseconds(delivery.commitTimeUs),
      copyText(error),
    ].join("\t"),
  );
}
