import type pg from "pg";

/** What is counted is not what the log holds. */
export interface RollupDifference {
  /** What was compared: the view, what stands merged by hour, or the figures by hour. */
  readonly counted: string;
  readonly webhookId: number;
  readonly outcome: string;
  readonly errorClass: string;
  /** Log rows, bytes, and values of each histogram. */
  readonly inRollup: readonly (string | null)[];
  readonly inLog: readonly (string | null)[];
}

/** Sums by webhook, outcome and error class of the log; tests are counted nowhere, and of replays no time from the commit. */
const FROM_LOG = `
  select webhook_id, outcome, coalesce(error_class, '') as error_class, count(*) as log_rows,
         coalesce(sum(request_bytes), 0) as request_bytes, count(duration_ms) as durations,
         count(duration_ms) filter (where outcome = 'delivered' and source <> 'replay') as receipts
    from walhook.webhook_request_log where source <> 'test' group by 1, 2, 3`;

const fromRollup = (relation: string): string => `
  select webhook_id, outcome, error_class, sum(log_rows) as log_rows, sum(request_bytes) as request_bytes,
         sum((select coalesce(sum(n), 0) from unnest(duration_counts) n)) as durations,
         sum((select coalesce(sum(n), 0) from unnest(receipt_counts) n)) as receipts
    from ${relation} group by 1, 2, 3`;

/** The same sums of what `walhook.webhook_hours` says, which knows webhooks and outcomes of three kinds. */
const LOG_BY_WEBHOOK = `
  select webhook_id, '' as outcome, '' as error_class, count(*) as log_rows, coalesce(sum(request_bytes), 0) as request_bytes,
         count(*) filter (where outcome = 'delivered') as durations, count(*) filter (where outcome in ('retry', 'blocked')) as receipts
    from walhook.webhook_request_log where source <> 'test' group by 1, 2, 3`;
const HOURS = `
  select webhook_id, '' as outcome, '' as error_class, sum(log_rows) as log_rows, sum(request_bytes) as request_bytes,
         sum(delivered) as durations, sum(retried) as receipts
    from walhook.webhook_hours(now() - interval '30 days', 'infinity') group by 1, 2, 3`;

/**
 * Compares what is counted by minute and by hour with the log, as it stands and once more when everything is merged.
 *
 * @param client a superuser; no bridge runs
 */
export async function rollupDifferences(client: pg.ClientBase): Promise<readonly RollupDifference[]> {
  const asItStands = [
    ...(await differences(client, "walhook.webhook_rollup", fromRollup("walhook.webhook_rollup"), FROM_LOG)),
    ...(await differences(client, "walhook.webhook_hours", HOURS, LOG_BY_WEBHOOK)),
  ];
  if (asItStands.length > 0) return asItStands;
  await client.query("select walhook.merge_rollup()");
  return [
    ...(await differences(client, "walhook.rollup_minute, merged", fromRollup("walhook.rollup_minute"), FROM_LOG)),
    ...(await differences(client, "walhook.rollup_hour, merged", fromRollup("walhook.rollup_hour"), FROM_LOG)),
    ...(await differences(client, "walhook.webhook_hours, merged", HOURS, LOG_BY_WEBHOOK)),
  ];
}

async function differences(
  client: pg.ClientBase,
  counted: string,
  rollup: string,
  log: string,
): Promise<readonly RollupDifference[]> {
  const sums = (side: string): string =>
    `array[${side}.log_rows::text, ${side}.request_bytes::text, ${side}.durations::text, ${side}.receipts::text]`;
  const { rows } = await client.query<Omit<RollupDifference, "counted">>(
    `select webhook_id as "webhookId", outcome, error_class as "errorClass", ${sums("r")} as "inRollup", ${sums("l")} as "inLog"
       from (${rollup}) r full join (${log}) l using (webhook_id, outcome, error_class)
      where ${sums("r")} is distinct from ${sums("l")}
      order by 1, 2, 3`,
  );
  return rows.map((row) => ({ counted, ...row }));
}
