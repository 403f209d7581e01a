import { sql, type Kysely, type RawBuilder, type Selectable } from "kysely";
import type { Database } from "../db/schema.ts";
import type { DocEventName } from "../events/doc-event.ts";
import type { Delivery, DeliverySource, FrozenRequest } from "../render/delivery.ts";
import { parseLsn } from "../replication/lsn.ts";
import { newTicket, type Ticket } from "./ticket.ts";

/** How many due deliveries of one kind a webhook can take now. */
export interface Room {
  readonly webhookId: number;
  readonly kind: "request" | "undecided";
  readonly count: number;
}

/** What to fetch: due deliveries of those who have room, less those that this process is dealing with. */
export interface DueFilter {
  readonly rooms: readonly Room[];
  readonly claimed: readonly string[];
  readonly limit: number;
  /** The page ends with the delivery whose body or raw change reaches so many bytes. Above 0. */
  readonly maxBytes: number;
}

/**
 * A page of deliveries that are due now as tickets that are ready: of each webhook the oldest due ones, as many
 * as it has room for, and where the page is too small for all, as many of each. Only heads of lanes are ever due.
 */
export async function fetchDue(db: Kysely<Database>, filter: DueFilter): Promise<readonly Ticket[]> {
  const { rooms, claimed, limit, maxBytes } = filter;
  const { rows } = await sql<DueRow>`
    select d.delivery_id, d.webhook_id, d.webhook, d.doctype, d.docname, d.old_docname, d.docevent, d.source, d.commit_lsn,
      d.change_lsn, d.change_index, d.xid, d.attempts, d.last_error, d.is_ordered, d.method, d.url, d.content_type,
      d.headers, d.body, d.change::text as change, (extract(epoch from d.commit_time) * 1000000)::bigint as commit_time_us
    from (
      select due.delivery_id, due.rank, sum(due.bytes) over (order by due.rank, due.delivery_id) - due.bytes as bytes_before
      from ${roomTable(rooms)}
      cross join lateral (
        select q.delivery_id, row_number() over (order by q.due_at) as rank,
          coalesce(octet_length(q.body), octet_length(q.change::text), 0) as bytes
        from walhook.webhook_queue q
        where ${isDue(claimed)} and q.due_at <= now()
        order by q.due_at
        limit room.count
      ) as due
      order by due.rank, due.delivery_id
      limit ${limit}
    ) as page
    join walhook.webhook_queue d on d.delivery_id = page.delivery_id
    where page.bytes_before < ${maxBytes}
    order by page.rank`.execute(db);
  return rows.map(toTicket);
}

/** How long until the next delivery of these is due, in ms; null when none waits for its time. */
export async function msUntilDue(
  db: Kysely<Database>,
  { rooms, claimed }: Pick<DueFilter, "rooms" | "claimed">,
): Promise<number | null> {
  const { rows } = await sql<{ ms: number | null }>`
    select extract(epoch from min(next.due_at) - clock_timestamp())::float8 * 1000 as ms
    from ${roomTable(rooms)}
    cross join lateral (
      select q.due_at from walhook.webhook_queue q where ${isDue(claimed)} order by q.due_at limit 1
    ) as next`.execute(db);
  return rows[0]?.ms ?? null;
}

function roomTable(rooms: readonly Room[]): RawBuilder<unknown> {
  return sql`unnest(
      ${rooms.map(({ webhookId }) => webhookId)}::integer[],
      ${rooms.map(({ kind }) => kind)}::text[],
      ${rooms.map(({ count }) => count)}::integer[]
    ) as room (webhook_id, kind, count)`;
}

/** Of the webhook and kind at hand, and not being dealt with. Each has its part of an index. */
function isDue(claimed: readonly string[]): RawBuilder<unknown> {
  return sql`q.webhook_id = room.webhook_id and q.kind = room.kind and q.due_at is not null and not q.is_dead
        and q.delivery_id <> all(${claimed}::text[])`;
}

/**
 * Rows in the queue by webhook, but for dead letters that hold nothing up: while it is zero, nobody has to ask
 * the table.
 */
export async function countParked(db: Kysely<Database>): Promise<Map<number, number>> {
  const rows = await db
    .selectFrom("walhook.webhook_queue")
    .select(["webhook_id", sql<number>`count(*)::int`.as("count")])
    .where((eb) => eb.or([eb("is_dead", "=", false), eb("holds_lane", "=", true)]))
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
  | "is_ordered"
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
    isOrdered: row.is_ordered,
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
