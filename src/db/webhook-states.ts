import { setTimeout as sleep } from "node:timers/promises";
import { sql, type Kysely, type Transaction } from "kysely";
import type { Database } from "./schema.ts";
import { whoseFailure } from "./whose-failure.ts";

/**
 * What the bridge says in `walhook.webhook_state.state`: why a webhook sends nothing, or nothing more than it should. The
 * database itself adds `disabled`.
 */
export type WebhookState = "ok" | "held" | "undecided" | "blocked" | "invalid";

/** Who may have something to say of a webhook, the most important first: what is shown is what the first of them says. */
const SPEAKERS = ["rights", "secret", "consent", "template", "address", "condition"] as const;
export type Speaker = (typeof SPEAKERS)[number];

interface Said {
  readonly state: Exclude<WebhookState, "ok">;
  readonly reason: string;
}

type Write = (trx: Transaction<Database>) => Promise<unknown>;

/** Somebody's open transaction is waited for so long, and then tried again. */
const LOCK_TIMEOUT_MS = 200;
const AGAIN_MS = 1_000;

/**
 * Writes what the bridge has to say about webhooks where a DBA looks. Whoever says it never waits, since the rows may be
 * locked for as long as somebody's transaction is open: what could not be written is tried again each second, or overtaken by
 * what is said of the same webhook next.
 */
export class WebhookStates {
  readonly #db: Kysely<Database>;
  readonly #onFailure: (error: unknown) => void;
  readonly #pending = new Map<string, Write>();
  /** What holds still, by webhook number. */
  readonly #said = new Map<number, Map<Speaker, Said>>();
  readonly #abort = new AbortController();
  #isWriting = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(db: Kysely<Database>, onFailure: (error: unknown) => void) {
    this.#db = db;
    this.#onFailure = onFailure;
  }

  /**
   * One has something to say; what others have said holds all the same.
   * @param reason null: it has nothing to say any more
   */
  show(speaker: Speaker, webhookId: number, state: Said["state"], reason: string | null): void {
    const said = this.#said.get(webhookId) ?? new Map<Speaker, Said>();
    if (reason === null) said.delete(speaker);
    else said.set(speaker, { state, reason });
    if (said.size === 0) this.#said.delete(webhookId);
    else this.#said.set(webhookId, said);
    this.#tell(webhookId);
  }

  /** As `show` with nothing to say, but that nothing is written where it had said nothing. */
  forget(speaker: Speaker, webhookId: number): void {
    if (this.#said.get(webhookId)?.has(speaker) === true) this.show(speaker, webhookId, "held", null);
  }

  /**
   * The configuration is people's: the bridge changes one thing of it, by a function that can do no more.
   * @param url where it was sent: a webhook that goes elsewhere by now is not meant
   */
  disable(webhookId: number, reason: string, url: string): void {
    const text = `${reason}. To go on: update walhook.webhook set enabled = true where id = ${webhookId}`;
    this.#take(endOf(webhookId), (trx) =>
      sql`select walhook.disable_webhook(${webhookId}, ${text}, ${url})`.execute(trx),
    );
  }

  /** These webhooks were changed: none of them is to be disabled for what it was, and what holds still is shown again. */
  reconfigure(webhookIds: Iterable<number>): void {
    for (const id of webhookIds) {
      this.#pending.delete(endOf(id));
      if (this.#said.has(id)) this.#tell(id);
    }
  }

  /** Tries once more to write what is left to say. */
  async close(): Promise<void> {
    this.#abort.abort();
    await this.#writing;
    await this.#round().catch(() => {});
  }

  #tell(webhookId: number): void {
    const said = this.#said.get(webhookId);
    const speaker = SPEAKERS.find((one) => said?.has(one) === true);
    const { state, reason } = (speaker === undefined ? undefined : said?.get(speaker)) ?? { state: "ok", reason: null };
    this.#take(`state of ${webhookId}`, (trx) => writeState(trx, webhookId, state, reason));
  }

  #take(key: string, write: Write): void {
    this.#pending.set(key, write);
    if (this.#isWriting || this.#abort.signal.aborted) return;
    this.#isWriting = true;
    this.#writing = this.#write();
  }

  async #write(): Promise<void> {
    const { signal } = this.#abort;
    try {
      while (this.#pending.size > 0 && !signal.aborted) {
        const isDone = await this.#round();
        if (!isDone) await sleep(AGAIN_MS, undefined, { signal }).catch(() => {});
      }
    } catch (error) {
      if (!signal.aborted) this.#onFailure(error);
    }
    this.#isWriting = false;
  }

  /** Writes what is pending. False: some of it is locked. */
  async #round(): Promise<boolean> {
    let isDone = true;
    // What is locked goes back: it is tried in the next round.
    const keys = [...this.#pending.keys()];
    for (const key of keys) {
      // The latest that was said of it; undefined: it was withdrawn meanwhile.
      const write = this.#pending.get(key);
      if (write === undefined) continue;
      // Whoever stops the bridge waits for one of them at most.
      if (!isDone && this.#abort.signal.aborted) break;
      this.#pending.delete(key);
      const isWritten = await patiently(this.#db, write);
      if (!isWritten && !this.#pending.has(key)) this.#pending.set(key, write);
      isDone &&= isWritten;
    }
    return isDone;
  }
}

function endOf(webhookId: number): string {
  return `end of ${webhookId}`;
}

/** False where somebody's open transaction has the row, or the server no room: the same can succeed later. */
export async function patiently(db: Kysely<Database>, write: Write): Promise<boolean> {
  try {
    await db.transaction().execute(async (trx) => {
      await sql`select set_config('lock_timeout', ${String(LOCK_TIMEOUT_MS)}, true)`.execute(trx);
      await write(trx);
    });
    return true;
  } catch (error) {
    if (whoseFailure(error) === "moment") return false;
    throw error;
  }
}

async function writeState(
  trx: Transaction<Database>,
  webhookId: number,
  state: WebhookState,
  reason: string | null,
): Promise<void> {
  await sql`
    insert into walhook.webhook_state (webhook_id, name, state, last_error, last_error_at)
    select w.id, w.name, ${state}, ${reason}, case when ${reason}::text is not null then now() end
    from walhook.webhook w where w.id = ${webhookId}
    on conflict (webhook_id) do update
    set name = excluded.name,
        state = excluded.state,
        last_error = coalesce(excluded.last_error, webhook_state.last_error),
        last_error_at = coalesce(excluded.last_error_at, webhook_state.last_error_at),
        updated_at = now()`.execute(trx);
}

/** Webhooks of which an earlier process has said that they cannot decide, and whether anything of them waits for it. */
export async function readUndecided(
  db: Kysely<Database>,
): Promise<readonly { readonly webhookId: number; readonly isWaiting: boolean }[]> {
  const { rows } = await sql<{ webhook_id: number; is_waiting: boolean }>`
    select s.webhook_id, exists (
      select from walhook.webhook_queue q where q.webhook_id = s.webhook_id and q.kind = 'undecided' and not q.is_dead
    ) as is_waiting
    from walhook.webhook_state s where s.state = 'undecided'`.execute(db);
  return rows.map(({ webhook_id, is_waiting }) => ({ webhookId: webhook_id, isWaiting: is_waiting }));
}

/** What an earlier process has said of webhooks that the address guard blocks, by webhook number. */
export async function readBlocked(db: Kysely<Database>): Promise<ReadonlyMap<number, string>> {
  const rows = await db
    .selectFrom("walhook.webhook_state")
    .select(["webhook_id", "last_error"])
    .where("state", "=", "blocked")
    .execute();
  return new Map(rows.map(({ webhook_id, last_error }) => [webhook_id, last_error ?? ""]));
}
