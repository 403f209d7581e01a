import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { WebhookStates } from "../db/webhook-states.ts";
import type { Held } from "./match.ts";

const EVERY_MS = 1_000;
/** With many webhooks the question takes its time: the server is not asked more than a tenth of the time. */
const PAUSE_TIMES = 9;

/**
 * Rights are not in the WAL, so they are asked again about once a second, for all webhooks in one statement:
 * a webhook whose author may no longer read the table is held, visibly, and nothing of it is lost.
 */
export class RightsWatch {
  readonly #db: Kysely<Database>;
  readonly #states: WebhookStates;
  readonly #onChange: () => void;
  readonly #onFailure: (error: unknown) => void;
  #held: Held = new Map();
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  #asking: Promise<void> = Promise.resolve();

  constructor(db: Kysely<Database>, states: WebhookStates, onChange: () => void, onFailure: (error: unknown) => void) {
    this.#db = db;
    this.#states = states;
    this.#onChange = onChange;
    this.#onFailure = onFailure;
  }

  /** The webhooks that are held now, with the reason, by number. */
  get held(): Held {
    return this.#held;
  }

  /** Asks once, and from then on every second. */
  async start(): Promise<void> {
    await this.#ask();
    this.#schedule();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#asking;
  }

  #schedule(pauseMs = 0): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(
      () => {
        const startedAt = performance.now();
        this.#asking = this.#ask().then(
          () => this.#schedule(PAUSE_TIMES * (performance.now() - startedAt)),
          (error: unknown) => this.#isClosed || this.#onFailure(error),
        ) as Promise<void>;
      },
      Math.max(EVERY_MS, pauseMs),
    );
  }

  async #ask(): Promise<void> {
    const { rows } = await sql<{ webhook_id: number; reason: string | null }>`
      select webhook_id, reason from walhook.author_rights() where not may_read`.execute(this.#db);
    const held = new Map(
      rows.map(({ webhook_id, reason }) => [webhook_id, reason ?? "its author may not read the table"]),
    );
    const isSame = held.size === this.#held.size && [...held].every(([id, reason]) => this.#held.get(id) === reason);
    if (isSame) return;
    const before = this.#held;
    this.#held = held;
    this.#show(before, held);
    this.#onChange();
  }

  /** Puts it where a DBA looks. */
  #show(before: Held, now: Held): void {
    for (const [id, reason] of now) if (before.get(id) !== reason) this.#states.show(id, "held", reason);
    for (const id of before.keys()) if (!now.has(id)) this.#states.show(id, "ok", null);
  }
}
