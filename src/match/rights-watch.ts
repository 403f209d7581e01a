import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { WebhookStates } from "../db/webhook-states.ts";
import { Poll } from "../poll.ts";
import type { WithoutRights } from "./match.ts";

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
  #withoutRights: WithoutRights = new Map();
  readonly #poll: Poll;

  constructor(db: Kysely<Database>, states: WebhookStates, onChange: () => void, onFailure: (error: unknown) => void) {
    this.#db = db;
    this.#states = states;
    this.#onChange = onChange;
    this.#poll = new Poll(
      () => this.#ask(),
      (tookMs) => Math.max(EVERY_MS, PAUSE_TIMES * tookMs),
      onFailure,
    );
  }

  /** As of the last look. */
  get withoutRights(): WithoutRights {
    return this.#withoutRights;
  }

  /** Asks once, and from then on every second. */
  async start(): Promise<void> {
    await this.#ask();
    this.#poll.start();
  }

  close(): Promise<void> {
    return this.#poll.close();
  }

  async #ask(): Promise<void> {
    const { rows } = await sql<{ webhook_id: number; reason: string | null }>`
      select webhook_id, reason from walhook.author_rights() where not may_read`.execute(this.#db);
    const withoutRights = new Map(
      rows.map(({ webhook_id, reason }) => [webhook_id, reason ?? "its author may not read the table"]),
    );
    const isSame =
      withoutRights.size === this.#withoutRights.size &&
      [...withoutRights].every(([id, reason]) => this.#withoutRights.get(id) === reason);
    if (isSame) return;
    const before = this.#withoutRights;
    this.#withoutRights = withoutRights;
    this.#show(before, withoutRights);
    this.#onChange();
  }

  /** Puts it where a DBA looks. */
  #show(before: WithoutRights, now: WithoutRights): void {
    for (const [id, reason] of now) if (before.get(id) !== reason) this.#states.show("rights", id, "held", reason);
    for (const id of before.keys()) if (!now.has(id)) this.#states.show("rights", id, "held", null);
  }
}
