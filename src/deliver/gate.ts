import type { Handshakes } from "./handshakes.ts";
import type { KeyRing } from "./key-ring.ts";
import type { WithoutRights } from "../match/match.ts";
import type { Webhook } from "../match/webhook.ts";
import type { Cancellations } from "./cancellations.ts";

export interface GateOptions {
  readonly withoutRights: () => WithoutRights;
  readonly keys: Pick<KeyRing, "problemOf">;
  readonly handshakes: Pick<Handshakes, "problemOf">;
  readonly cancellations: Pick<Cancellations, "holds">;
}

/** Which webhooks may send now. What they may not send waits in the queue. */
export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** It is paused, something of it is being cancelled, its author lost the right, it cannot sign, or its receiver has not consented. */
  holds(webhook: Webhook): boolean {
    const { withoutRights, keys, handshakes, cancellations } = this.#options;
    return (
      webhook.isPaused ||
      cancellations.holds(webhook.id) ||
      withoutRights().has(webhook.id) ||
      keys.problemOf(webhook, Date.now()) !== null ||
      handshakes.problemOf(webhook) !== null
    );
  }

  /** Whether it is in force, enabled, and not held. */
  isOpen(webhook: Webhook | undefined): webhook is Webhook {
    return webhook?.enabled === true && !this.holds(webhook);
  }
}
