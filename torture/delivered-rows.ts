import pg from "pg";
import type { DeliveredRows } from "./compare.ts";

/** Counts the log's rows `delivered` by delivery, a page at a time. */
export async function readDeliveredRows(url: string): Promise<DeliveredRows> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const counts = new Map<string, number>();
    await client.query("begin");
    await client.query(
      "declare delivered cursor for select delivery_id from walhook.webhook_request_log where outcome = 'delivered'",
    );
    for (;;) {
      const { rows } = await client.query<{ delivery_id: string }>("fetch 20000 from delivered");
      if (rows.length === 0) return counts;
      for (const { delivery_id: id } of rows) counts.set(id, (counts.get(id) ?? 0) + 1);
    }
  } finally {
    await client.end();
  }
}
