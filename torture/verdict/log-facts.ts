import pg from "pg";

/** What the log says of each delivery, by its id. */
export interface LogFacts {
  /** How many rows say `delivered`, but for replays. */
  readonly delivered: ReadonlyMap<string, number>;
  /** When each replay of it ended well, in ms. */
  readonly replayed: ReadonlyMap<string, readonly number[]>;
  /** Attempts ended without an answer: at the timeout, or with the connection. */
  readonly unanswered: ReadonlySet<string>;
}

interface LogRow {
  readonly id: string;
  readonly isDelivered: boolean;
  readonly replayedAtMs: number | null;
}

/** Reads the whole log, a page at a time. */
export async function readLogFacts(url: string): Promise<LogFacts> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const delivered = new Map<string, number>();
    const replayed = new Map<string, number[]>();
    const unanswered = new Set<string>();
    await client.query("begin");
    await client.query(
      `declare attempts cursor for select delivery_id as id, outcome = 'delivered' as "isDelivered",
         case when source = 'replay' then extract(epoch from sent_at)::float8 * 1000 end as "replayedAtMs"
       from walhook.webhook_request_log where outcome = 'delivered' or status_code is null`,
    );
    for (;;) {
      const { rows } = await client.query<LogRow>("fetch 20000 from attempts");
      if (rows.length === 0) return { delivered, replayed, unanswered };
      for (const { id, isDelivered, replayedAtMs } of rows) {
        if (isDelivered && replayedAtMs !== null) replayed.set(id, [...(replayed.get(id) ?? []), replayedAtMs]);
        else if (isDelivered) delivered.set(id, (delivered.get(id) ?? 0) + 1);
        else unanswered.add(id);
      }
    }
  } finally {
    await client.end();
  }
}
