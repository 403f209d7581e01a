import pg from "pg";
import type { Stage } from "./stage.ts";
import { sleep } from "./wait.ts";

/** What the maintenance did in a stretch of time. */
export interface MaintenanceTally {
  readonly calls: number;
  /** Of them those that made, dropped or emptied a partition. */
  readonly done: number;
  /** Of them those that found a partition in use, and said so. */
  readonly inUse: number;
  /** The longest call, in ms. */
  readonly maxMs: number;
  /** A sentence of each kind of call, the last one. */
  readonly words: readonly string[];
}

export interface MaintenanceOptions {
  /** How long it will run. */
  readonly seconds: number;
  /** Rows of each partition that there is to drop or to empty. */
  readonly rows: number;
}

const EVERY_MS = 1000;
const KINDS = ["made", "dropped by age", "dropped by size", "bodies taken out"] as const;
/** Partitions of the log's past are so old, which nothing else in the stretch concerns. */
const FIRST_DAY = 100;

/**
 * The functions that the bridge calls each hour, as the bridge's role, one a second in turn: partitions are made,
 * dropped by age, dropped by size, and their bodies are taken out.
 */
export class LogMaintenance {
  readonly #client: pg.Client;
  readonly #stage: Stage;
  /** The oldest partition that there is. */
  #oldest: number;
  #ahead = 7;

  private constructor(client: pg.Client, stage: Stage, oldest: number) {
    this.#client = client;
    this.#stage = stage;
    this.#oldest = oldest;
  }

  /** Makes as many old partitions as there will be calls that want one. */
  static async prepare(stage: Stage, { seconds, rows }: MaintenanceOptions): Promise<LogMaintenance> {
    const count = Math.ceil(seconds * 0.75) + 1;
    await stage.look("select walhook.drop_log_partitions('60 days')");
    for (let day = 0; day < count; day++) await stage.look(dayPartition(FIRST_DAY + day, rows));
    const client = new pg.Client({ connectionString: stage.server.url("bench", "bench_bridge") });
    client.on("error", () => {});
    await client.connect();
    return new LogMaintenance(client, stage, FIRST_DAY + count - 1);
  }

  async run(seconds: number): Promise<MaintenanceTally> {
    const words = new Map<string, string>();
    let calls = 0;
    let done = 0;
    let inUse = 0;
    let maxMs = 0;
    for (const endAt = performance.now() + seconds * 1000; performance.now() < endAt; calls++) {
      const kind = KINDS[calls % KINDS.length]!;
      const startedAt = performance.now();
      const said = await this.#call(kind);
      const tookMs = performance.now() - startedAt;
      maxMs = Math.max(maxMs, tookMs);
      words.set(kind, said);
      if (/next round/.test(said)) inUse++;
      else if (/added [1-9]|dropped [1-9]|took/.test(said)) done++;
      await sleep(Math.max(0, Math.min(EVERY_MS - tookMs, endAt - performance.now())));
    }
    return { calls, done, inUse, maxMs, words: [...words].map(([kind, said]) => `${kind}: ${said}`) };
  }

  async close(): Promise<void> {
    await this.#client.end();
  }

  async #call(kind: (typeof KINDS)[number]): Promise<string> {
    switch (kind) {
      case "made":
        return this.#say(`walhook.add_log_partitions(${++this.#ahead})`);
      case "dropped by age":
        return this.#dropped(await this.#say(`walhook.drop_log_partitions(interval '${this.#oldest - 1} days')`));
      case "dropped by size": {
        const bytes = await this.#stage.number(
          "select sum(pg_total_relation_size(inhrelid)) from pg_inherits where inhparent = 'walhook.webhook_request_log'::regclass",
        );
        // What is written meanwhile makes it larger, so one more may be due.
        return this.#dropped(await this.#say(`walhook.drop_log_partitions(interval '1000 days', ${bytes - 1})`));
      }
      case "bodies taken out":
        return this.#say("walhook.thin_log_partition(interval '60 days')");
    }
  }

  #dropped(said: string): string {
    this.#oldest -= Number(/dropped (\d+)/.exec(said)?.[1] ?? 0);
    return said;
  }

  async #say(call: string): Promise<string> {
    try {
      const { rows } = await this.#client.query<{ said: string }>(`select ${call} as said`);
      return rows[0]?.said ?? "";
    } catch (error) {
      // The bridge of the stage keeps house, too: two may meet.
      if ((error as { code?: string }).code !== "55P03") throw error;
      return `${(error as Error).message}: the next round tries again`;
    }
  }
}

/** Makes the log's partition of so many days ago, with rows that have bodies of 1 kB. For a superuser. */
export function dayPartition(days: number, rows: number): string {
  const day = new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);
  const name = `walhook.webhook_request_log_${day.replaceAll("-", "")}`;
  return `set timezone = 'UTC';
    create table if not exists ${name} partition of walhook.webhook_request_log for values from ('${day}') to ('${day}'::timestamptz + interval '1 day');
    alter table ${name} owner to walhook_owner;
    insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docname, docevent, source, outcome,
        request_body, response_body, request_bytes, body_kept, lsn)
      select '${day} 12:00Z'::timestamptz + n * interval '1 ms', 'msg_${days}_' || n, 1, 1, 'w', 'event', n, 'after_insert', 'live', 'delivered',
        repeat(md5(n::text), 32), 'ok', 1024, 'whole', '0/1'::pg_lsn + n from generate_series(1, ${rows}) n`;
}
