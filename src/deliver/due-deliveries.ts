import { sql, type Kysely, type RawBuilder, type Selectable } from "kysely";
import type { Database } from "../db/schema.ts";
import type { DocEventName } from "../events/doc-event.ts";
import type { Delivery, DeliverySource, FrozenRequest } from "../render/delivery.ts";
import { parseLsn } from "../replication/lsn.ts";
import { batchOf } from "./parcel.ts";
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
  /** How much their bodies may take; the first one comes whatever it takes. */
  readonly limitBytes: number;
}

export interface DuePage {
  readonly tickets: readonly Ticket[];
  /** More would have been due, and had room, than the limits allow. */
  readonly isCut: boolean;
}

/**
 * A page of deliveries that are due now as tickets that are ready: of each webhook the oldest due ones, as many
 * as it has room for, and where the page is too small for all, as many of each; with each that was sent in a batch
 * comes the whole batch. Only heads of lanes are ever due.
 */
export async function fetchDue(db: Kysely<Database>, filter: DueFilter): Promise<DuePage> {
  const { rooms, claimed, limit, limitBytes } = filter;
  const { rows } = await sql<DueRow>`
    with chosen as (
      select due.delivery_id, due.batch_id, due.rank, row_number() over place as number, sum(due.bytes) over place as bytes
      from ${roomTable(rooms)}
      cross join lateral (
        select q.delivery_id, q.batch_id, row_number() over (order by q.due_at) as rank,
          coalesce(octet_length(q.body), octet_length(q.change::text), 0) as bytes
        from walhook.webhook_queue q
        where ${isDue(claimed)} and q.due_at <= now()
        order by q.due_at
        limit room.count
      ) as due
      window place as (order by due.rank, due.delivery_id rows unbounded preceding)
    ), page as (
      select chosen.delivery_id, chosen.batch_id, chosen.rank from chosen
      where chosen.number = 1 or (chosen.number <= ${limit} and chosen.bytes <= ${limitBytes})
    ), due as (
      select page.delivery_id, page.rank from page
      union
      select q.delivery_id, min(page.rank)
      from page join walhook.webhook_queue q on q.batch_id = page.batch_id and not q.is_dead
      where q.delivery_id not in (select page.delivery_id from page)
      group by q.delivery_id
    )
    select d.delivery_id, d.webhook_id, d.webhook, d.doctype, d.docname, d.old_docname, d.docevent, d.source, d.commit_lsn,
      d.change_lsn, d.change_index, d.xid, d.attempts, d.last_error, d.is_ordered, d.batch_id, d.method, d.url,
      d.content_type, d.headers, d.body, d.change::text as change,
      (extract(epoch from d.commit_time) * 1000000)::bigint as commit_time_us,
      (select count(*) from chosen) > (select count(*) from page) as is_cut
    from due join walhook.webhook_queue d on d.delivery_id = due.delivery_id
    order by due.rank, d.delivery_id`.execute(db);
  const tickets = rows.map(toTicket);
  joinBatches(rows, tickets);
  return { tickets, isCut: rows[0]?.is_cut ?? false };
}

/** Those that were sent together are sent together again. Where one of them is gone, the rest may be sent with others. */
function joinBatches(rows: readonly DueRow[], tickets: readonly Ticket[]): void {
  const batches = new Map<string, Ticket[]>();
  for (const [index, { batch_id }] of rows.entries()) {
    if (batch_id !== null) batches.set(batch_id, [...(batches.get(batch_id) ?? []), tickets[index]!]);
  }
  for (const [id, members] of batches) {
    const batch = batchOf(members);
    if (batch.id === id) for (const ticket of members) ticket.batch = batch;
  }
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
  | "batch_id"
  | "method"
  | "url"
  | "content_type"
  | "headers"
  | "body"
> & { readonly change: string | null; readonly commit_time_us: string; readonly is_cut: boolean };

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
