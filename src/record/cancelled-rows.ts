import { sql, type RawBuilder } from "kysely";

/**
 * Parts of a WITH clause: `gone`, the rows of the queue that are taken out of it, and what gives each its log row `cancelled`
 * and counts these rows, as a checkpoint counts those that it copies to the log.
 * @param which a condition on `walhook.webhook_queue`
 * @param reason what the log says of each; an expression may say it by columns of `gone`
 */
export function cancelledRows(which: RawBuilder<unknown>, reason: string | RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`
    gone as (
      delete from walhook.webhook_queue where ${which}
      returning delivery_id, attempts, webhook_id, webhook, doctype, docname, old_docname, docevent, source, commit_lsn, xid,
        commit_time, is_barrier, is_dead, holds_lane, cancelled_by
    ), logged as (
      insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname,
        docevent, source, outcome, error, lsn, xid, commit_time)
      select statement_timestamp(), delivery_id, attempts, webhook_id, webhook, doctype, docname, docevent, source,
        'cancelled', ${reason}, commit_lsn, xid, commit_time
      from gone
    ), counted as (
      insert into walhook.rollup_part (minute, webhook_id, webhook, outcome, error_class, host, log_rows, request_bytes,
        duration_buckets, duration_counts, receipt_buckets, receipt_counts)
      select date_trunc('minute', statement_timestamp(), 'UTC'), webhook_id, max(webhook), 'cancelled', '', '', count(*)::integer, 0, '{}', '{}', '{}', '{}'
      from gone group by webhook_id
    )`;
}
