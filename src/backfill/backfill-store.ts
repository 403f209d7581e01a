import type pg from "pg";
import { AnswerLimit } from "../db/answer-limit.ts";
import { withClient } from "../db/with-client.ts";
import type { Key } from "./progress.ts";
import { BackfillDelayed, BackfillStopped, ReadingFailed } from "./backfill-failure.ts";
import { toReading, type Reading, type ReadTable } from "./read-rows.ts";
import { Snapshot } from "./snapshot.ts";

/** A backfill as its tables have it. */
export interface StoredBackfill {
  readonly webhook_id: number;
  readonly wanted: string;
  readonly resumes: number;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly columns: ReadTable["columns"];
  /** How many rows the planner thinks there are; null: it does not know, or a condition chooses among them. */
  readonly estimate: string | null;
  /** Null: it has not begun. */
  readonly state: string | null;
  readonly state_resumes: number | null;
  /** Where it ends is known. */
  readonly has_begun: boolean;
  readonly last_key: Key | null;
  readonly until_key: Key | null;
  readonly pending: readonly Key[] | null;
  readonly rows_done: string | null;
  readonly rows_sent: string | null;
  /** What its function wants to hear; null: an earlier version made it, which wants nothing. */
  readonly token: string | null;
}

const STORED = `
  select r.webhook_id, r.wanted, r.resumes, r.doctype_oid::bigint::float8 as oid, n.nspname::text as schema, c.relname::text as name, r.columns,
         case when r.condition is null then (
           select sum(greatest(l.reltuples, 0))::bigint
             from pg_catalog.pg_class l
            where l.relkind <> 'p' and (l.oid = c.oid or l.oid in (select t.relid from pg_catalog.pg_partition_tree(c.oid) t))) end as estimate,
         s.state, s.resumes as state_resumes, s.until_key is not null as has_begun, s.last_key, s.until_key, s.pending, s.rows_done, s.rows_sent, t.token
    from walhook.backfill_request r
    left join pg_catalog.pg_class c on c.oid = r.doctype_oid
    left join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join walhook.backfill_state s on s.backfill_id = r.id
    left join walhook.backfill_token t on t.backfill_id = r.id
   where r.id = $1`;

/** A process that was taken over changes nothing more. */
const IS_OURS = (parameter: string): string =>
  `exists (select from walhook.bridge b where b.epoch = ${parameter}::bigint)`;

/** Transactions that have written to a table and hold their locks still, by the ids of `pg_locks`. */
const WRITERS = `
  select distinct t.transactionid::text as xid
    from pg_catalog.pg_locks l
    join pg_catalog.pg_locks t on t.virtualtransaction = l.virtualtransaction and t.locktype = 'transactionid' and t.granted and t.mode = 'ExclusiveLock'
   where l.locktype = 'relation' and l.granted and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
     and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
     and (l.relation = $1::bigint::oid or l.relation in (select p.relid from pg_catalog.pg_partition_tree($1::bigint::oid::regclass) p))`;

const MARK = `
  insert into walhook.backfill_watermark as w (backfill_id, token, side, xid)
  values ($1, $2, $3, (pg_current_xact_id()::text::bigint & 4294967295))
  on conflict (backfill_id) do update
  set token = excluded.token, side = excluded.side, written_at = clock_timestamp(), xid = excluded.xid`;

/** What a reading may bring beside its largest row: other rows, and a few messages. */
const SPARE_ANSWER_BYTES = 64 * 1024 * 1024;
/** A control character of one byte is six in JSON. */
const JSON_GROWTH = 6;
/** What is one text to the driver must fit into one: Node has 512 MiB. */
const MAX_TEXT_BYTES = 480 * 1024 * 1024;

/** What rows are read: those behind `after` or from `from` on, up to `until`. */
export interface Bounds {
  readonly after?: Key;
  readonly from?: Key;
  readonly until?: Key;
}

/** What a backfill reads and writes in the database, beside its progress, which the checkpoints write. */
export class BackfillStore {
  readonly #pool: pg.Pool;
  readonly #epoch: bigint;
  readonly #maxRowBytes: number;
  readonly #maxAnswerBytes: number;
  readonly #signal: AbortSignal;
  /** By number. */
  readonly #tokens = new Map<string, string>();

  /** @param signal ends what is being read */
  constructor(pool: pg.Pool, epoch: bigint, maxRowBytes: number, signal: AbortSignal) {
    this.#pool = pool;
    this.#epoch = epoch;
    this.#maxRowBytes = maxRowBytes;
    this.#maxAnswerBytes = Math.min(SPARE_ANSWER_BYTES + JSON_GROWTH * maxRowBytes, MAX_TEXT_BYTES);
    this.#signal = signal;
  }

  /** Null where there is none, or none that can be seen yet. */
  async find(id: string): Promise<StoredBackfill | null> {
    const { rows } = await this.#pool.query<StoredBackfill>(STORED, [id]);
    const stored = rows[0] ?? null;
    if (stored !== null && stored.token !== null) this.#tokens.set(id, stored.token);
    return stored;
  }

  /** Backfills that are not finished, or were resumed or cancelled while nobody looked; oldest first. */
  async unfinished(): Promise<readonly string[]> {
    const { rows } = await this.#pool.query<{ id: string }>(
      `select r.id::text from walhook.backfill_request r left join walhook.backfill_state s on s.backfill_id = r.id
        where coalesce(s.state, 'running') = 'running' or (s.state = 'failed' and (r.wanted = 'cancel' or r.resumes > s.resumes)) order by r.id`,
    );
    return rows.map(({ id }) => id);
  }

  /** How far it goes, written once. */
  async begin(id: string, until: Key | null, estimate: string | null, resumes: number): Promise<void> {
    await this.#pool.query(
      `insert into walhook.backfill_state as s (backfill_id, until_key, rows_estimated, resumes) select $1, $2, $3, $4 where ${IS_OURS("$5")}
       on conflict (backfill_id) do update set until_key = excluded.until_key, rows_estimated = excluded.rows_estimated`,
      [id, JSON.stringify(until), estimate, resumes, this.#epoch],
    );
  }

  /** It runs again. */
  async restart(id: string, resumes: number): Promise<void> {
    await this.#pool.query(
      `update walhook.backfill_state set state = 'running', error = null, resumes = $2 where backfill_id = $1 and state = 'failed' and ${IS_OURS("$3")}`,
      [id, resumes, this.#epoch],
    );
  }

  async hasWebhook(webhookId: number): Promise<boolean> {
    const { rows } = await this.#pool.query("select from walhook.webhook where id = $1", [webhookId]);
    return rows.length > 0;
  }

  /**
   * With the rights of who asked for it, in a transaction that can write nothing: at most about a second, but for a condition
   * that takes longer for one row.
   * @throws ReadingFailed what the reading itself met; BackfillStopped it brought more than it may; BackfillDelayed its connection
   *   was lost
   */
  read(id: string, what: string, bounds: Bounds, within = "60s"): Promise<Reading & { snapshot: Snapshot }> {
    return withClient(this.#pool, this.#signal, async (client) => {
      using limit = new AnswerLimit(client, this.#maxAnswerBytes);
      try {
        await client.query(
          `begin isolation level read committed read only; set local statement_timeout = '${within}'; set local lock_timeout = '2s'`,
        );
        // First the lock, then what is seen: to a statement that began before a TRUNCATE or a rewrite, the table is empty.
        await client.query("select from walhook.read_backfill($1, 'lock', $2)", [
          id,
          JSON.stringify({ token: this.#tokens.get(id) }),
        ]);
        const input = { ...bounds, most: this.#maxRowBytes, token: this.#tokens.get(id) };
        // One statement, so one snapshot. The driver takes an array apart letter by letter: 240 ms for 8 MB, as JSON 7.
        const { rows } = await client.query<{ seen: string; answer: (string | null)[] | null }>(
          `select pg_current_snapshot()::text as seen, null::json as answer
           union all
           select null, to_json(r) from walhook.read_backfill($1, $2, $3) as r`,
          [id, what, JSON.stringify(input)],
        );
        await client.query("rollback; select pg_advisory_unlock_all()");
        const answers = rows.map(({ answer }) => answer).filter((answer) => answer !== null);
        return { ...toReading(answers), snapshot: new Snapshot(rows[0]?.seen ?? "") };
      } catch (error) {
        if (this.#signal.aborted) throw error;
        throw limit.isExceeded ? this.#tooMuch() : await judged(client, error as Error);
      }
    });
  }

  #tooMuch(): BackfillStopped {
    const mebibytes = Math.round(this.#maxAnswerBytes / 1024 / 1024);
    return new BackfillStopped(
      `more than ${mebibytes} MiB came with rows that were read at once: its condition, or a function that it calls, raises messages of that size`,
    );
  }

  /**
   * Writes a watermark, which the stream meets at its commit. With synchronous replication a commit is in the WAL long
   * before it is seen: what stands before a low one is seen once this returns, since all wait for the standby in order.
   */
  async mark(id: string, token: string, side: "low" | "high"): Promise<void> {
    if (side === "high") return void (await this.#pool.query(MARK, [id, token, side]));
    await withClient(this.#pool, this.#signal, async (client) => {
      await client.query("begin; set local synchronous_commit = remote_apply");
      await client.query(MARK, [id, token, side]);
      // Somebody who cancels the wait for the standby has it succeed, with a warning.
      let warning: string | null = null;
      const onNotice = ({
        severity,
        message,
      }: {
        severity?: string | undefined;
        message?: string | undefined;
      }): void => {
        if (severity === "WARNING") warning = message ?? severity;
      };
      client.on("notice", onNotice);
      await client.query("commit").finally(() => client.off("notice", onNotice));
      if (warning !== null)
        throw new BackfillDelayed(`the commit of its watermark was not waited for: ${String(warning)}`);
    });
  }

  /** Transactions that are writing to the table. */
  async writers(oid: number): Promise<readonly string[]> {
    const { rows } = await this.#pool.query<{ xid: string }>(WRITERS, [oid]);
    return rows.map(({ xid }) => xid);
  }

  /** Nothing of it is left but what it did. */
  async end(id: string, state: "done" | "cancelled"): Promise<void> {
    await this.#pool.query(
      `with ended as (
         insert into walhook.backfill_state as s (backfill_id, state) select $1, $2 where ${IS_OURS("$3")}
         on conflict (backfill_id) do update set state = excluded.state, error = null, updated_at = case when excluded.state = 'done' then now() else s.updated_at end
         returning backfill_id), unmarked as (
         delete from walhook.backfill_watermark w using ended where w.backfill_id = ended.backfill_id)
       select walhook.drop_backfill_function(backfill_id) from ended`,
      [id, state, this.#epoch],
    );
  }

  /** Says why it has failed. */
  async fail(id: string, reason: string, resumes: number): Promise<void> {
    await this.#pool.query(
      `insert into walhook.backfill_state as s (backfill_id, state, error, resumes) select $1, 'failed', $2, $3 where ${IS_OURS("$4")}
       on conflict (backfill_id) do update set state = excluded.state, error = excluded.error, resumes = excluded.resumes`,
      [id, reason, resumes, this.#epoch],
    );
  }

  /** Says why it has to try again; its next progress takes that back. */
  async noteTrouble(id: string, reason: string): Promise<void> {
    await this.#pool.query(`update walhook.backfill_state set error = $2 where backfill_id = $1 and ${IS_OURS("$3")}`, [
      id,
      reason,
      this.#epoch,
    ]);
  }
}

/** Decides who is to blame for a failed reading: a condition may raise any SQLSTATE, so the connection itself is asked. */
async function judged(client: pg.PoolClient, error: Error): Promise<Error> {
  try {
    await client.query("rollback");
    const { rows } = await client.query<{ is_standby: boolean }>("select pg_is_in_recovery() as is_standby");
    return rows[0]?.is_standby === true ? error : new ReadingFailed(error.message, { cause: error });
  } catch {
    return new BackfillDelayed(`the connection that reads was lost: ${error.message}`);
  }
}
