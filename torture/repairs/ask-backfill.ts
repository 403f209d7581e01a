import type pg from "pg";
import type { AskedBackfill, RowVersions } from "./asked.ts";
import { docname, type WatchedTable } from "../workload/watched-table.ts";
import type { WatchedWebhook } from "../workload/webhooks.ts";

/** Rows of a backfill: more are thinned by a condition, since each of them is a request. */
const MANY_ROWS = 2000;

/**
 * Asks for a backfill of the rows of a webhook's table, and notes which there are. The transaction is left open: what is
 * returned was asked for only once that is committed.
 */
export async function askBackfill(
  client: pg.ClientBase,
  webhook: WatchedWebhook,
  table: WatchedTable,
): Promise<AskedBackfill> {
  const { rows: counted } = await client.query<{ count: number }>(`select count(*)::int as count from ${table.name}`);
  const count = counted[0]?.count ?? 0;
  // Values are spread evenly over 1,024 numbers.
  const condition = count <= MANY_ROWS ? null : `doc.value < ${Math.ceil((1024 * MANY_ROWS) / count)}`;
  const before = await rowsMeant(client, webhook, table, condition);
  const { rows } = await client.query<{ id: string }>("select walhook.backfill($1, $2)::text as id", [
    webhook.name,
    condition,
  ]);
  return { id: rows[0]!.id, webhook: webhook.name, doctype: table.name, condition, before, after: null };
}

/** The rows that a backfill means now. */
export async function rowsMeant(
  client: pg.ClientBase,
  webhook: WatchedWebhook,
  table: WatchedTable,
  condition: string | null,
): Promise<RowVersions> {
  const { rows } = await client.query<{ docname: string; seq: string }>(
    `select ${docname(table, "doc")} as docname, doc.seq from ${table.name} doc
      where (${webhook.condition?.sql ?? "true"}) and (${condition ?? "true"})`,
  );
  return new Map(rows.map((row) => [row.docname, Number(row.seq)]));
}
