import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";
import type { WithoutRights } from "../match/match.ts";
import type { WebhookStates } from "../db/webhook-states.ts";
import type { Webhook } from "../match/webhook.ts";
import { Poll } from "../poll.ts";
import type { KeyRing } from "./key-ring.ts";

const EVERY_MS = 1_000;

export interface SecretWatchOptions {
  readonly db: Kysely<Database>;
  readonly states: WebhookStates;
  readonly keys: KeyRing;
  /** Those in force. */
  readonly webhooks: () => Iterable<Webhook>;
  /** Those whose author lost the right, which is the reason that is shown. */
  readonly withoutRights: () => WithoutRights;
  /** A webhook may be able to sign now. */
  readonly onChange: () => void;
  readonly onFailure: (error: unknown) => void;
}

/**
 * Reads what secrets refer to again about once a second, and puts it where a DBA looks when a webhook cannot sign:
 * it is held until it can, and nothing of it is lost. Nothing is written while nothing changes.
 */
export class SecretWatch {
  readonly #options: SecretWatchOptions;
  /** The reasons that stand in `walhook.webhook_state`, by webhook number. */
  readonly #shown = new Map<number, string>();
  readonly #poll: Poll;

  constructor(options: SecretWatchOptions) {
    this.#options = options;
    this.#poll = new Poll(
      () => this.#look(),
      () => EVERY_MS,
      options.onFailure,
    );
  }

  /** Looks once, and from then on every second. */
  async start(): Promise<void> {
    await this.#look();
    await this.#clearOld();
    this.#poll.start();
  }

  close(): Promise<void> {
    return this.#poll.close();
  }

  async #look(): Promise<void> {
    const { states, keys, webhooks, withoutRights, onChange } = this.#options;
    const isChanged = await keys.refresh(webhooks());
    const nowMs = Date.now();
    const problems = new Map<number, string>();
    for (const webhook of webhooks()) {
      const problem = keys.problemOf(webhook, nowMs);
      // A reference that came since is read by the next look.
      if (problem !== null && !withoutRights().has(webhook.id)) problems.set(webhook.id, problem);
    }
    let isReleased = isChanged;
    for (const id of this.#shown.keys()) {
      if (problems.has(id)) continue;
      this.#shown.delete(id);
      isReleased = true;
      states.show("secret", id, "held", null);
    }
    for (const [id, problem] of problems) {
      if (this.#shown.get(id) === problem) continue;
      this.#shown.set(id, problem);
      states.show("secret", id, "held", problem);
    }
    if (isReleased) onChange();
  }

  /** What an earlier process held and this one does not. */
  async #clearOld(): Promise<void> {
    const still = [...this.#shown.keys(), ...this.#options.withoutRights().keys()];
    await sql`
      update walhook.webhook_state set state = 'ok', updated_at = now()
      where webhook_id in (
        select s.webhook_id from walhook.webhook_state s
        where s.state = 'held' and s.webhook_id <> all(${still}::integer[]) for update skip locked)`.execute(
      this.#options.db,
    );
  }
}
