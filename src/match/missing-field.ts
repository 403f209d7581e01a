import { escapeLiteral } from "pg";
import type { Relation } from "../decode/relation.ts";
import type { DocEvent } from "../events/doc-event.ts";
import type { Webhook } from "./webhook.ts";

/** By webhook and table as they are now: a changed row or table is another object. */
const known = new WeakMap<Webhook, WeakMap<Relation, string | null>>();

/**
 * Why the body of an event cannot be made until somebody changes `webhook_data`: it names a column that the table does not have
 * any more. Null: all are there. What waits for it is sent once the row is changed.
 */
export function missingField(webhook: Webhook, { change }: DocEvent): string | null {
  if (webhook.data.length === 0 || change.kind === "truncate") return null;
  const ofWebhook = known.get(webhook) ?? new WeakMap<Relation, string | null>();
  known.set(webhook, ofWebhook);
  let reason = ofWebhook.get(change.relation);
  if (reason === undefined) ofWebhook.set(change.relation, (reason = reasonOf(webhook, change.relation)));
  return reason;
}

function reasonOf({ name, data }: Webhook, { doctype, columns }: Relation): string | null {
  const missing = data.find(({ fieldname }) => columns.every((column) => column.name !== fieldname));
  if (missing === undefined) return null;
  const { fieldname } = missing;
  return (
    `webhook_data names ${fieldname}, which ${doctype} no longer has; ` +
    `update walhook.webhook_data set fieldname = '…' where webhook = ${escapeLiteral(name)} and fieldname = ${escapeLiteral(fieldname)}, or delete that row`
  );
}
