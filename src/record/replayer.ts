import type pg from "pg";
import { whoseFailure } from "../db/whose-failure.ts";
import { withClient } from "../db/with-client.ts";
import type { Ticket } from "../deliver/ticket.ts";
import type { QueueDelta } from "./checkpoint-writer.ts";
import { type LoggedDelivery, toReplayed } from "./logged-delivery.ts";
import { copyToQueue } from "./queue-copy.ts";

export interface ReplayerOptions {
  readonly pool: pg.Pool;
  /** Of this process: one that was taken over writes nothing. */
  readonly epoch: bigint;
  /** How many more deliveries of a webhook the queue may hold; 0 while it sends nothing. */
  readonly room: (webhookId: number) => number;
  /** So many came into the queue. */
  readonly onQueued: (delta: QueueDelta) => void;
  readonly onFailure: (error: unknown) => void;
}

/** A replay's next deliveries come so often. */
const EVERY_MS = 200;
/** Most at a time, so that the bridge's row is locked briefly. */
const MAX_AT_ONCE = 200;

interface Replay {
  readonly replay_id: string;
  readonly webhook_id: number;
  readonly rate: number;
  readonly state: "new" | "running";
}

/**
 * Puts deliveries of the log into the queue again, as `walhook.replay` asks: a few at a time, at the rate that was asked
 * for, and only while little else waits for the webhook, so that live ones go first. What is still to come stands in
 * `walhook.replay_item`; a step takes it from there and puts it into the queue in one transaction.
 */
export class Replayer {
  readonly #options: ReplayerOptions;
  /** When each replay may go on, in ms of `performance.now()`. */
  readonly #dueAtMs = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  #isAwake = false;
  #isWoken = false;
  #working: Promise<void> = Promise.resolve();
  readonly #abort = new AbortController();

  constructor(options: ReplayerOptions) {
    this.#options = options;
  }

  /** There may be something to replay: after a start, and where a checkpoint has passed a request. */
  wake(): void {
    this.#isWoken = true;
    if (this.#isClosed || this.#isAwake) return;
    this.#isAwake = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#working = this.#work();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#abort.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#working;
  }

  async #work(): Promise<void> {
    try {
      this.#isWoken = false;
      const { rows: replays } = await this.#options.pool.query<Replay>(
        "select replay_id, webhook_id, rate, state from walhook.replay_state where state in ('new', 'running') order by replay_id",
      );
      for (const replay of replays) if (!this.#isClosed) await this.#step(replay);
      this.#isAwake = false;
      if ((replays.length > 0 || this.#isWoken) && !this.#isClosed)
        this.#timer = setTimeout(() => this.wake(), EVERY_MS);
    } catch (error) {
      this.#isAwake = false;
      if (!this.#isClosed) this.#options.onFailure(error);
    }
  }

  /** What cannot be read or queued ends its replay, visibly, and nothing else: the next start would meet it again. */
  async #step(replay: Replay): Promise<void> {
    try {
      await this.#advance(replay);
    } catch (error) {
      if (this.#isClosed) return;
      const owner = whoseFailure(error);
      if (owner === "session") throw error;
      if (owner === "work") await this.#fail(replay.replay_id, error as Error);
    }
  }

  async #advance(replay: Replay): Promise<void> {
    const { webhook_id, rate, replay_id } = replay;
    const nowMs = performance.now();
    const since = Math.max(this.#dueAtMs.get(replay_id) ?? nowMs, nowMs - EVERY_MS);
    // A slow rate sends one, and then waits for its time.
    const most = Math.min(
      MAX_AT_ONCE,
      this.#options.room(webhook_id),
      Math.max(1, Math.round((rate * EVERY_MS) / 1000)),
    );
    if (most <= 0 || since > nowMs) return;
    // It may read much of the log, so it holds no checkpoint up.
    if (replay.state === "new") await choose(this.#options.pool, replay_id, this.#abort.signal);
    const count = await this.#transaction((client) => queueNext(client, replay_id, most));
    this.#dueAtMs.set(replay_id, Math.max(nowMs, since) + (count * 1000) / rate);
    if (count > 0) this.#options.onQueued(new Map([[webhook_id, count]]));
  }

  async #fail(replayId: string, { message }: Error): Promise<void> {
    const reason = `${message}. Nothing more of it is sent; ask for the rest by a narrower walhook.replay`;
    await this.#options.pool.query(
      `update walhook.replay_state set state = 'failed', error = $2, ended_at = now()
        where replay_id = $1 and state in ('new', 'running') and exists (select from walhook.bridge b where b.epoch = $3::bigint)`,
      [replayId, reason, this.#options.epoch.toString()],
    );
  }

  /** Under the lock of the bridge's row, as a checkpoint, so that nobody else writes the queue meanwhile. */
  async #transaction(write: (client: pg.PoolClient) => Promise<number>): Promise<number> {
    const client = await this.#options.pool.connect();
    try {
      await client.query("begin");
      const { rows } = await client.query<{ is_ours: boolean }>(
        "select epoch = $1::bigint as is_ours from walhook.bridge for update",
        [this.#options.epoch.toString()],
      );
      const count = rows[0]?.is_ours === true ? await write(client) : 0;
      await client.query("commit");
      return count;
    } catch (error) {
      await client.query("rollback").catch(() => {});
      throw error;
    } finally {
      client.release();
    }
  }
}

/**
 * Notes what is to be sent again, once: whoever comes second finds that it is running. Where it was stopped meanwhile, nothing of
 * it is left. It may take long, and is broken off where the bridge stops; the next one begins anew.
 */
async function choose(pool: pg.Pool, replayId: string, signal: AbortSignal): Promise<void> {
  await withClient(pool, signal, async (client) => {
    await client.query("begin");
    const { rowCount } = await client.query(
      `insert into walhook.replay_item (replay_id, delivery_id, attempt, sent_at)
       select s.replay_id, c.delivery, c.attempt, c.sent_at
         from walhook.replay_state s
        cross join lateral walhook.replayable(s.webhook_id, s.docname, s.delivery_id, s.since, s.until, s.from_lsn, s.to_lsn, s.outcome) c
        where s.replay_id = $1 and s.state = 'new' and c.problem is null
       on conflict do nothing`,
      [replayId],
    );
    const { rowCount: begun } = await client.query(
      "update walhook.replay_state set state = 'running', started_at = now(), deliveries = $2 where replay_id = $1 and state = 'new'",
      [replayId, rowCount],
    );
    await client.query(begun === 1 ? "commit" : "rollback");
  });
}

/** The next ones, in the order of their ids, which is that of the changes. Returns how many rows came into the queue. */
async function queueNext(client: pg.ClientBase, replayId: string, most: number): Promise<number> {
  const { rowCount: isRunning } = await client.query(
    "select from walhook.replay_state where replay_id = $1 and state = 'running' for update",
    [replayId],
  );
  // Somebody has stopped it since it was looked for.
  if (isRunning === 0) return 0;
  const { rows: items } = await client.query<{ delivery_id: string; sent_at: string; attempt: number }>(
    `delete from walhook.replay_item i
      where i.replay_id = $1 and i.delivery_id in (
        select n.delivery_id from walhook.replay_item n where n.replay_id = $1 order by n.delivery_id limit $2)
     returning i.delivery_id, i.sent_at::text, i.attempt`,
    [replayId, most],
  );
  const ids = items.map(({ delivery_id }) => delivery_id);
  // A dead letter has everything in the queue already; where it held its lane, that goes on from here.
  const { rowCount: revived } = await client.query(
    `update walhook.webhook_queue set is_dead = false, attempts = 0, source = 'replay', due_at = now(), is_ordered = holds_lane
      where delivery_id = any ($1) and is_dead and not holds_lane and (body is not null or change is not null)`,
    [ids],
  );
  const { rows } = await client.query<LoggedDelivery>(READ_LOG, [
    ids,
    items.map(({ attempt }) => attempt),
    items.map(({ sent_at }) => sent_at),
  ]);
  const states = rows.map((row) => queueStateOf(toReplayed(row)));
  await copyToQueue(client, states, Date.now());
  const queued = states.length + (revived ?? 0);
  await client.query(
    `update walhook.replay_state
        set queued = queued + $2, skipped = skipped + $3,
            state = case when $4 then 'done' else state end, ended_at = case when $4 then now() end
      where replay_id = $1`,
    [replayId, queued, items.length - queued, items.length < most],
  );
  return queued;
}

const READ_LOG = `
  select l.delivery_id, l.webhook_id, l.webhook, l.doctype, l.docname, l.docevent, l.lsn::text, l.xid::text,
         (extract(epoch from l.commit_time) * 1000000)::bigint::text as commit_time_us,
         case when w.is_dynamic_url then l.url end as url, l.method, l.request_headers, b.body
    from unnest($1::text[], $2::integer[], $3::timestamptz[]) as i (delivery_id, attempt, sent_at)
    join walhook.webhook_request_log l on l.delivery_id = i.delivery_id and l.attempt = i.attempt and l.sent_at = i.sent_at
    join walhook.webhook w on w.id = l.webhook_id
   cross join lateral (
     select l.request_body as body where l.request_id = l.delivery_id and coalesce(l.body_kept, 'whole') = 'whole'
     union all
     -- Of a batch its own part, byte for byte, from the row of the first.
     (select case when l.request_headers ->> 'content-type' = 'application/cloudevents-batch+json' then e.element::text
                  else (e.element -> 'payload')::text end
        from walhook.webhook_request_log f
       cross join lateral json_array_elements(f.request_body::json) as e (element)
       where l.request_id <> l.delivery_id and f.sent_at = l.sent_at and f.request_id = l.request_id and f.body_kept = 'whole'
         and e.element ->> 'id' = l.delivery_id
       limit 1)) b
   where b.body is not null
     and not exists (select from walhook.webhook_queue q where q.delivery_id = l.delivery_id)
   order by l.delivery_id collate "C"`;

function queueStateOf(ticket: Ticket): Parameters<typeof copyToQueue>[1][number] {
  return { ticket, attempts: 0, dueAtMs: null, lastError: null, isDead: false, holdsLane: false, isSending: false };
}
