import { sql, type Kysely, type RawBuilder } from "kysely";
import type { Database } from "../db/schema.ts";
import { toTickets, type DueRow } from "./due-row.ts";
import type { Ticket } from "./ticket.ts";

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

/** Deliveries of one lane that come along behind the one that is due. */
const LANE_AHEAD = 20;

/**
 * A page of deliveries that are due now as tickets: of each webhook the oldest due ones, as many as it has room
 * for, and where the page is too small for all, as many of each. Only heads of lanes are ever due; behind each come
 * the next ones of its lane, so that a long lane does not wait for a checkpoint between any two of its deliveries,
 * and with each that was sent in a batch comes the whole batch.
 */
export async function fetchDue(db: Kysely<Database>, filter: DueFilter): Promise<DuePage> {
  const { rooms, claimed, limit, limitBytes } = filter;
  const { rows } = await sql<DueRow>`
    with head as (
      select due.delivery_id, due.batch_id, due.webhook_id, due.docname, due.commit_lsn, due.change_lsn, due.change_index,
        due.event_number, due.leads, due.rank, due.bytes
      from ${roomTable(rooms)}
      cross join lateral (
        select q.delivery_id, q.batch_id, q.webhook_id, q.docname, q.commit_lsn, q.change_lsn, q.change_index, q.event_number,
          q.is_ordered and q.kind = 'request' and not q.is_barrier and q.batch_id is null as leads,
          row_number() over (order by q.due_at) as rank, ${bytesOf("q")} as bytes
        from walhook.webhook_queue q
        where ${isDue(claimed)} and q.due_at <= now()
        order by q.due_at
        limit room.count
      ) as due
    ), chosen as (
      select open.delivery_id, open.batch_id, open.lane, open.step, open.rank, row_number() over place as number, sum(open.bytes) over place as bytes_so_far
      from (
        select head.delivery_id, head.batch_id, head.delivery_id as lane, 0 as step, head.rank, head.bytes from head
        union all
        select next.delivery_id, null, head.delivery_id, next.step, head.rank, next.bytes
        from head cross join lateral (${laneBehindHead(claimed)}) as next
        where head.leads
      ) as open
      window place as (order by open.step, open.rank, open.delivery_id rows unbounded preceding)
    ), page as (
      select chosen.delivery_id, chosen.batch_id, chosen.lane, chosen.step, chosen.rank from chosen
      where chosen.number = 1 or (chosen.number <= ${limit} and chosen.bytes_so_far <= ${limitBytes})
    ), due as (
      select page.delivery_id, page.lane, page.step, page.rank from page
      union all
      select distinct q.delivery_id, q.delivery_id, 0, 0
      from page join walhook.webhook_queue q on q.batch_id = page.batch_id and not q.is_dead
      where q.delivery_id not in (select page.delivery_id from page)
    )
    select d.delivery_id, d.webhook_id, d.webhook, d.doctype, d.docname, d.old_docname, d.docevent, d.source, d.commit_lsn,
      d.change_lsn, d.change_index, d.xid, d.attempts, d.last_error, d.is_ordered, d.batch_id, d.method, d.url,
      d.content_type, d.headers, d.body, d.change::text as change,
      (extract(epoch from d.commit_time) * 1000000)::bigint as commit_time_us, due.lane, due.step::integer as step,
      (select count(*) from chosen) > (select count(*) from page) as is_cut
    from due join walhook.webhook_queue d on d.delivery_id = due.delivery_id
    order by due.step, due.rank, d.delivery_id`.execute(db);
  return { tickets: toTickets(rows), isCut: rows[0]?.is_cut ?? false };
}

/**
 * The deliveries that may follow `head` in its lane at once, in order: up to one that stands in another lane as well,
 * was sent before, is dead or is being dealt with, and up to a TRUNCATE or one that left this name.
 */
function laneBehindHead(claimed: readonly string[]): RawBuilder<unknown> {
  return sql`
    select run.delivery_id, run.step, run.bytes
    from (
      select q.delivery_id, q.commit_lsn, q.change_lsn, q.change_index, q.event_number, ${bytesOf("q")} as bytes,
        row_number() over lane as step,
        bool_and(q.old_docname is null and q.kind = 'request' and q.batch_id is null and q.due_at is null
          and not q.is_dead and not q.is_barrier and q.delivery_id <> all(${claimed}::text[])) over lane as is_plain
      from walhook.webhook_queue q
      where q.webhook_id = head.webhook_id and q.docname = head.docname and q.is_ordered
        and (not q.is_dead or q.holds_lane) and ${isBefore("head", "q")}
      window lane as (order by q.commit_lsn, q.change_lsn, q.change_index, q.event_number rows unbounded preceding)
      order by q.commit_lsn, q.change_lsn, q.change_index, q.event_number
      limit ${LANE_AHEAD}
    ) as run
    where run.is_plain
      and not exists (select from walhook.webhook_queue e where e.webhook_id = head.webhook_id
        and e.old_docname = head.docname and ${isBefore("head", "e")} and ${isBefore("e", "run")})
      and not exists (select from walhook.webhook_queue e where e.webhook_id = head.webhook_id
        and e.is_barrier and ${isBefore("head", "e")} and ${isBefore("e", "run")})`;
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

function isBefore(first: "head" | "e", second: "q" | "e" | "run"): RawBuilder<unknown> {
  const place = (of: string): RawBuilder<unknown> =>
    sql.raw(`(${of}.commit_lsn, ${of}.change_lsn, ${of}.change_index, ${of}.event_number)`);
  return sql`${place(first)} < ${place(second)}`;
}

/** What a row's body or raw change takes in memory. */
function bytesOf(row: "q"): RawBuilder<unknown> {
  return sql.raw(`coalesce(octet_length(${row}.body), octet_length(${row}.change::text), 0)`);
}
