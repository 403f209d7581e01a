import { sql, type Kysely, type Selectable } from "kysely";
import type { Database } from "../db/schema.ts";
import type { DocEventName } from "../events/doc-event.ts";
import type { Delivery, DeliverySource, FrozenRequest } from "../render/delivery.ts";
import { parseLsn } from "../replication/lsn.ts";
import { newTicket, type Ticket } from "./ticket.ts";

/** What to fetch: due deliveries of these webhooks, less those that this process is dealing with. */
export interface DueFilter {
  readonly webhookIds: readonly number[];
  readonly claimed: readonly string[];
  readonly limit: number;
}

/** A page of deliveries that are due now, oldest due first, as tickets that are ready. Only heads of lanes are ever due. */
export async function fetchDue(db: Kysely<Database>, filter: DueFilter): Promise<readonly Ticket[]> {
  const rows = await db
    .selectFrom("walhook.webhook_queue")
    .select([
      "delivery_id",
      "webhook_id",
      "webhook",
      "doctype",
      "docname",
      "old_docname",
      "docevent",
      "source",
      "commit_lsn",
      "change_lsn",
      "change_index",
      "xid",
      "attempts",
      "last_error",
      "method",
      "url",
      "content_type",
      "headers",
      "body",
      sql<string | null>`change::text`.as("change"),
      sql<string>`(extract(epoch from commit_time) * 1000000)::bigint`.as("commit_time_us"),
    ])
    .where("due_at", "<=", sql<Date>`now()`)
    .where("is_dead", "=", false)
    .where("webhook_id", "=", sql<number>`any(${filter.webhookIds})`)
    .where("delivery_id", "<>", sql<string>`all(${filter.claimed})`)
    .orderBy("due_at")
    .limit(filter.limit)
    .execute();
  return rows.map(toTicket);
}

/** How long until the next delivery of these webhooks is due, in ms; null when none waits for its time. */
export async function msUntilDue(db: Kysely<Database>, filter: Omit<DueFilter, "limit">): Promise<number | null> {
  const row = await db
    .selectFrom("walhook.webhook_queue")
    .select(sql<number | null>`extract(epoch from min(due_at) - clock_timestamp())::float8 * 1000`.as("ms"))
    .where("due_at", "is not", null)
    .where("is_dead", "=", false)
    .where("webhook_id", "=", sql<number>`any(${filter.webhookIds})`)
    .where("delivery_id", "<>", sql<string>`all(${filter.claimed})`)
    .executeTakeFirstOrThrow();
  return row.ms;
}

/** Rows in the queue by webhook, dead letters not counted: while it is zero, nobody has to ask the table. */
export async function countParked(db: Kysely<Database>): Promise<Map<number, number>> {
  const rows = await db
    .selectFrom("walhook.webhook_queue")
    .select(["webhook_id", sql<number>`count(*)::int`.as("count")])
    .where("is_dead", "=", false)
    .groupBy("webhook_id")
    .execute();
  return new Map(rows.map(({ webhook_id, count }) => [webhook_id, count]));
}

type DueRow = Pick<
  Selectable<Database["walhook.webhook_queue"]>,
  | "delivery_id"
  | "webhook_id"
  | "webhook"
  | "doctype"
  | "docname"
  | "old_docname"
  | "docevent"
  | "source"
  | "commit_lsn"
  | "change_lsn"
  | "change_index"
  | "xid"
  | "attempts"
  | "last_error"
  | "method"
  | "url"
  | "content_type"
  | "headers"
  | "body"
> & { readonly change: string | null; readonly commit_time_us: string };

function toTicket(row: DueRow): Ticket {
  const delivery: Delivery = {
    id: row.delivery_id,
    webhookId: row.webhook_id,
    webhookName: row.webhook,
    doctype: row.doctype,
    docname: row.docname,
    oldDocname: row.old_docname,
    docevent: row.docevent as DocEventName,
    source: row.source as DeliverySource,
    position: {
      commitLsn: parseLsn(row.commit_lsn),
      changeLsn: parseLsn(row.change_lsn),
      index: row.change_index,
    },
    xid: Number(row.xid),
    commitTimeUs: BigInt(row.commit_time_us),
  };
  return {
    ...newTicket(delivery, toRequest(row), row.change),
    state: "ready",
    isDurable: true,
    attempts: row.attempts,
    lastError: row.last_error,
  };
}

/** Null for an undecided delivery, which has a raw change instead. */
function toRequest({ method, url, content_type, headers, body }: DueRow): FrozenRequest | null {
  if (body === null || method === null || content_type === null) return null;
  return { method, url, contentType: content_type, headers: headers ?? [], body };
}
