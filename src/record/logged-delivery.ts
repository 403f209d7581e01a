import { newTicket, type Ticket } from "../deliver/ticket.ts";
import type { DocEventName } from "../events/doc-event.ts";
import { CLOUDEVENT_BATCH_TYPE, CLOUDEVENT_TYPE } from "../render/cloudevent.ts";
import { placeOfId } from "../render/place-of-id.ts";
import { parseLsn } from "../replication/lsn.ts";

/** A row of the log with all of what was sent, of a batch its own part. */
export interface LoggedDelivery {
  readonly delivery_id: string;
  readonly webhook_id: number;
  readonly webhook: string;
  readonly doctype: string;
  readonly docname: string | null;
  readonly docevent: string;
  readonly lsn: string;
  readonly xid: string;
  readonly commit_time_us: string;
  /** Null where the webhook's own URL is taken at each attempt. */
  readonly url: string | null;
  readonly method: string;
  readonly request_headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * The delivery as it goes into the queue to be sent again: same id, same bytes. It stands in no lane, so that it neither
 * waits for later ones of its document nor holds them up.
 */
export function toReplayed(row: LoggedDelivery): Ticket {
  // An id of a backfill is made of a hash, which is no place and more than the queue's columns hold.
  const place = row.docevent === "backfill" ? null : placeOfId(row.delivery_id);
  const commitLsn = parseLsn(row.lsn);
  const contentType = row.request_headers["content-type"] ?? "application/json";
  return newTicket(
    {
      id: row.delivery_id,
      webhookId: row.webhook_id,
      webhookName: row.webhook,
      doctype: row.doctype,
      docname: row.docname,
      oldDocname: null,
      docevent: row.docevent as DocEventName,
      source: "replay",
      position: { commitLsn, changeLsn: place?.changeLsn ?? commitLsn, index: place?.index ?? 0 },
      xid: Number(row.xid),
      commitTimeUs: BigInt(row.commit_time_us),
      isOrdered: false,
    },
    {
      method: row.method,
      url: row.url,
      contentType: contentType === CLOUDEVENT_BATCH_TYPE ? CLOUDEVENT_TYPE : contentType,
      // Rendered with the body, and of names that the log shows: those of a CloudEvent in binary mode.
      headers: Object.entries(row.request_headers).filter(([name]) => name.startsWith("ce-")),
      body: Buffer.from(row.body),
    },
  );
}
