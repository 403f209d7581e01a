import type pg from "pg";
import type { Row } from "../decode/row-change.ts";
import type { Key } from "./progress.ts";

/** A backfill as its tables have it. */
export interface StoredBackfill {
  readonly webhook_id: number;
  readonly wanted: string;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly typeOid: number }[];
  readonly estimate: string | null;
  readonly is_known: boolean;
  readonly state: string | null;
  readonly last_key: Key | null;
  readonly until_key: Key | null;
  readonly pending: readonly Key[] | null;
  readonly rows_done: string | null;
  readonly rows_sent: string | null;
}

const STORED = `
  select r.webhook_id, r.wanted, r.doctype_oid::bigint::float8 as oid, n.nspname::text as schema, c.relname::text as name, r.columns,
         case when c.reltuples >= 0 then c.reltuples::bigint end as estimate, s.backfill_id is not null as is_known,
         s.state, s.last_key, s.until_key, s.pending, s.rows_done, s.rows_sent
    from walhook.backfill_request r
    left join pg_catalog.pg_class c on c.oid = r.doctype_oid
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join walhook.backfill_state s on s.backfill_id = r.id
   where r.id = $1`;

/** What a backfill reads and writes in the database, beside its progress, which the checkpoints write. */
export class BackfillStore {
  readonly #pool: pg.Pool;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  /** Null where there is none, or none that can be seen yet. */
  async find(id: string): Promise<StoredBackfill | null> {
    const { rows } = await this.#pool.query<StoredBackfill>(STORED, [id]);
    return rows[0] ?? null;
  }

  /** Backfills that are not finished, oldest first. */
  async unfinished(): Promise<readonly string[]> {
    const { rows } = await this.#pool.query<{ id: string }>(
      `select r.id::text from walhook.backfill_request r left join walhook.backfill_state s on s.backfill_id = r.id
        where coalesce(s.state, 'running') = 'running' order by r.id`,
    );
    return rows.map(({ id }) => id);
  }

  /** How far it goes, written once. */
  async begin(id: string, until: Key | null, estimate: string | null): Promise<void> {
    await this.#pool.query(
      "insert into walhook.backfill_state (backfill_id, until_key, rows_estimated) values ($1, $2, $3) on conflict do nothing",
      [id, JSON.stringify(until), estimate],
    );
  }

  async hasWebhook(webhookId: number): Promise<boolean> {
    const { rows } = await this.#pool.query("select from walhook.webhook where id = $1", [webhookId]);
    return rows.length > 0;
  }

  /** With the rights of who asked for it, in a transaction that can write nothing. */
  async read(id: string, what: string, input: unknown): Promise<readonly Row[]> {
    const client = await this.#pool.connect();
    try {
      await client.query("begin read only; set local statement_timeout = '60s'");
      const { rows } = await client.query<{ values: (string | null)[] }>(
        "select r as values from walhook.read_backfill($1, $2, $3) as r",
        [id, what, JSON.stringify(input)],
      );
      return rows.map(({ values }) => values);
    } finally {
      await client.query("rollback; select pg_advisory_unlock_all()").catch(() => {});
      client.release();
    }
  }

  /** Writes a watermark, which the stream meets at its commit. */
  async mark(id: string, token: string, side: "low" | "high"): Promise<void> {
    await this.#pool.query(
      `insert into walhook.backfill_watermark as w (backfill_id, token, side, xid)
       values ($1, $2, $3, (pg_current_xact_id()::text::bigint & 4294967295))
       on conflict (backfill_id) do update
       set token = excluded.token, side = excluded.side, written_at = clock_timestamp(), xid = excluded.xid`,
      [id, token, side],
    );
  }

  /** Nothing of it is left but what it did. */
  async end(id: string, state: "done" | "cancelled"): Promise<void> {
    await this.#pool.query(
      `with ended as (update walhook.backfill_state set state = $2, updated_at = case when $2 = 'done' then now() else updated_at end where backfill_id = $1)
       delete from walhook.backfill_watermark where backfill_id = $1`,
      [id, state],
    );
    await this.#pool.query("select walhook.drop_backfill_function($1)", [id]);
  }

  /** Says in its state why it has failed. */
  async fail(id: string, reason: string): Promise<void> {
    await this.#pool.query(
      `insert into walhook.backfill_state as s (backfill_id, state, error) values ($1, 'failed', $2)
       on conflict (backfill_id) do update set state = 'failed', error = excluded.error`,
      [id, reason],
    );
  }
}
