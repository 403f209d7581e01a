import pg from "pg";
import { changeName, deliveryKey, fingerprint } from "../receiver/delivery-key.ts";
import type { WatchedWebhook } from "../workload/webhooks.ts";

/** A committed change, as the transaction that made it wrote it down. */
export interface LedgerRow {
  readonly seq: string;
  readonly doctype: string;
  readonly events: readonly string[];
  readonly docname: string | null;
  readonly oldDocname: string | null;
  readonly rowSeq: string | null;
  readonly doc: string | null;
  readonly xid: string;
}

/** A delivery that a committed change must lead to. */
export interface Expected {
  readonly key: string;
  readonly webhook: string;
  readonly event: string;
  /** Orders the deliveries of a lane: the change's number, and behind it the event's place. */
  readonly order: number;
  /** Names of the documents in whose lanes it stands: two where the key changed, none without a key. */
  readonly lanes: readonly string[];
  /** It stands in all lanes of its webhook. */
  readonly isBarrier: boolean;
  readonly docHash: string;
}

/** The events of one change in the order in which they are sent. */
const EVENTS = [
  "after_insert",
  "on_update",
  "on_submit",
  "on_cancel",
  "on_update_after_submit",
  "on_change",
  "on_trash",
  "on_truncate",
];

/** The place of an event among all of the documents' deliveries, from the number of its change. */
export function orderOf(seq: number, event: number): number {
  return seq * EVENTS.length + event;
}

/** Reads the whole ledger, a page at a time. */
export async function* readLedger(url: string): AsyncGenerator<readonly LedgerRow[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("begin");
    await client.query(
      `declare changes cursor for
       select seq, doctype, events, docname, old_docname as "oldDocname", row_seq as "rowSeq", doc::text as doc, xid from ledger`,
    );
    for (;;) {
      const { rows } = await client.query<LedgerRow>("fetch 5000 from changes");
      if (rows.length === 0) return;
      yield rows;
    }
  } finally {
    await client.end();
  }
}

/** What these changes must lead to. */
export function expectedOf(rows: readonly LedgerRow[], webhooks: readonly WatchedWebhook[]): readonly Expected[] {
  return rows.flatMap((row) =>
    webhooks.filter(({ doctype }) => doctype === row.doctype).flatMap((webhook) => ofChange(row, webhook)),
  );
}

function ofChange(row: LedgerRow, webhook: WatchedWebhook): readonly Expected[] {
  const events = row.events.filter((event) => webhook.events.includes(event));
  if (events.length === 0) return [];
  const doc = row.doc === null ? null : (JSON.parse(row.doc) as Record<string, unknown>);
  if (doc !== null && webhook.condition?.holds(doc) === false) return [];
  return events.map((event) => ({
    key: deliveryKey(webhook.name, event, changeName(row.rowSeq, row.xid)),
    webhook: webhook.name,
    event,
    order: orderOf(Number(row.seq), EVENTS.indexOf(event)),
    lanes: [row.docname, row.oldDocname].filter((name) => name !== null),
    isBarrier: event === "on_truncate",
    docHash: fingerprint(doc),
  }));
}
