import { sql, type RawBuilder } from "kysely";

/**
 * Two parts of a WITH clause: `gone`, the rows of the queue that are taken out of it, and what gives each its log row `cancelled`.
 * @param which a condition on `walhook.webhook_queue`
 * @param reason what the log says of each
 */
export function cancelledRows(which: RawBuilder<unknown>, reason: string): RawBuilder<unknown> {
  return sql`
    gone as (
      delete from walhook.webhook_queue where ${which}
      returning delivery_id, attempts, webhook_id, webhook, doctype, docname, old_docname, docevent, source, commit_lsn, xid,
        commit_time, is_barrier, is_dead, holds_lane
    ), logged as (
      insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname,
        docevent, source, outcome, error, lsn, xid, commit_time)
      select clock_timestamp(), delivery_id, attempts, webhook_id, webhook, doctype, docname, docevent, source,
        'cancelled', ${reason}, commit_lsn, xid, commit_time
      from gone
    )`;
}
