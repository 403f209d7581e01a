import type { DocEvent } from "../events/doc-event.ts";
import type { Obstacle } from "./obstacle.ts";
import type { Verdict } from "./question.ts";
import type { Webhook } from "./webhook.ts";

/** An event and a webhook, on the way to a match. */
export interface Candidate {
  readonly webhook: Webhook;
  readonly event: DocEvent;
  readonly obstacle: Obstacle | { readonly kind: "declined"; readonly reason: string } | null;
  /** Where the event stands among those that are matched. */
  readonly eventIndex: number;
  verdict: Verdict | null;
}
