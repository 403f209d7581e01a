import type pg from "pg";

/** A webhook of the test; its requests go to the receiver, at the path of its name. */
export interface WatchedWebhook {
  readonly name: string;
  readonly doctype: string;
  readonly events: readonly string[];
  /** So many events may come in one request; default 1. */
  readonly batchSize?: number;
  /** An immutable condition, and the same in JavaScript. */
  readonly condition?: { readonly sql: string; readonly holds: (doc: Readonly<Record<string, unknown>>) => boolean };
}

export const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const ALL = ["after_insert", "on_update", "on_trash", "on_truncate"];

export const WEBHOOKS: readonly WatchedWebhook[] = [
  { name: "simple-all", doctype: "simple", events: ALL },
  {
    name: "simple-some",
    doctype: "simple",
    // An INSERT is both: two deliveries of one change for one webhook.
    events: ["after_insert", "on_change"],
    condition: { sql: "doc.value % 4 = 0", holds: (doc) => Number(doc["value"]) % 4 === 0 },
  },
  { name: "composite-all", doctype: "composite", events: ALL },
  { name: "composite-batches", doctype: "composite", events: ALL, batchSize: 20 },
  { name: "toasted-all", doctype: "toasted", events: ["after_insert", "on_change", "on_trash"] },
  { name: "parted-all", doctype: "parted", events: ALL },
  { name: "keyless-new", doctype: "keyless", events: ["after_insert", "on_truncate"] },
  { name: "typed-all", doctype: "typed", events: ["after_insert", "on_update", "on_trash"] },
  {
    name: "paper-all",
    doctype: "paper",
    events: ["after_insert", "on_update", "on_submit", "on_cancel", "on_update_after_submit", "on_change", "on_trash"],
  },
];

/** The webhook of a table that is made while the test runs. */
export function laterWebhook(table: string): WatchedWebhook {
  return { name: `${table}-all`, doctype: table, events: ["after_insert", "on_update", "on_trash"] };
}

/** Retried often and soon: whatever disturbs a receiver here, no delivery may be given up. */
const SCHEDULE = ["100 ms", "200 ms", "400 ms", ...Array.from({ length: 97 }, () => "800 ms")];

/** Writes the webhook's row. `client` is a member of walhook_admin. */
export async function addWebhook(client: pg.ClientBase, webhook: WatchedWebhook, receiverUrl: string): Promise<void> {
  await client.query(
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, condition, request_url, enable_security,
       webhook_secret, timeout, retry_schedule, batch_size)
     values ($1, $2, $3, $4, $5, true, $6, '2 s', $7, $8)`,
    [
      webhook.name,
      webhook.doctype,
      webhook.events.join(", "),
      webhook.condition?.sql ?? null,
      `${receiverUrl}/${webhook.name}`,
      SECRET,
      SCHEDULE,
      webhook.batchSize ?? 1,
    ],
  );
}
