import pg from "pg";

/** What the log says of each delivery, by its id. */
export interface LogFacts {
  /** How many rows say `delivered`. */
  readonly delivered: ReadonlyMap<string, number>;
  /** Attempts ended without an answer: at the timeout, or with the connection. */
  readonly unanswered: ReadonlySet<string>;
}

/** Reads the whole log, a page at a time. */
export async function readLogFacts(url: string): Promise<LogFacts> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const delivered = new Map<string, number>();
    const unanswered = new Set<string>();
    await client.query("begin");
    await client.query(
      `declare attempts cursor for select delivery_id as id, outcome = 'delivered' as "isDelivered"
       from walhook.webhook_request_log where outcome = 'delivered' or status_code is null`,
    );
    for (;;) {
      const { rows } = await client.query<{ id: string; isDelivered: boolean }>("fetch 20000 from attempts");
      if (rows.length === 0) return { delivered, unanswered };
      for (const { id, isDelivered } of rows) {
        if (isDelivered) delivered.set(id, (delivered.get(id) ?? 0) + 1);
        else unanswered.add(id);
      }
    }
  } finally {
    await client.end();
  }
}
