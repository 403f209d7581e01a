import type { Conditions } from "../match/conditions.ts";
import { thawEvent } from "../match/frozen-event.ts";
import { questionOf } from "../match/collect-questions.ts";
import { declinedBecause } from "../match/declined.ts";
import { missingField } from "../match/missing-field.ts";
import type { Webhook } from "../match/webhook.ts";
import type { FrozenRequest } from "../render/delivery.ts";
import { render } from "../render/render.ts";
import type { Ticket } from "./ticket.ts";

/** What became of an undecided delivery. */
export type Reconsidered =
  | { readonly kind: "send"; readonly request: FrozenRequest }
  /** Its condition does not hold: nothing is sent, as if it had been asked at once. */
  | { readonly kind: "drop"; readonly reason: string }
  | {
      readonly kind: "unsendable";
      readonly outcome: "error" | "undecidable";
      readonly errorClass: string | null;
      readonly reason: string;
    }
  /** Still no answer. */
  | { readonly kind: "later"; readonly reason: string };

/** Asks an undecided delivery's condition again, alone, and renders it where it holds and its body can be made. */
export async function reconsider(
  ticket: Ticket,
  webhook: Webhook,
  conditions: Pick<Conditions, "askParked">,
  maxBodyBytes: number,
): Promise<Reconsidered> {
  const { xid, commitTimeUs, position } = ticket.delivery;
  const event = thawEvent(ticket.change ?? "{}", { commitLsn: position.commitLsn, commitTimeUs, xid }, position);
  const question = questionOf(webhook, event);
  if (question.kind === "undecidable") return unsendable("undecidable", question.reason);
  if (question.kind === "undecided") return { kind: "later", reason: question.reason };
  if (question.kind === "ask") {
    const verdict = await conditions.askParked(question.question);
    switch (verdict.kind) {
      case "true":
        break;
      case "false":
      case "null":
        return { kind: "drop", reason: declinedBecause(webhook, verdict.kind) };
      case "error":
        return unsendable("error", verdict.message);
      case "undecided":
        return { kind: "later", reason: verdict.message };
      case "timeout":
        return { kind: "later", reason: "the condition did not answer in time" };
      default:
        return verdict satisfies never;
    }
  }
  const missing = missingField(webhook, event);
  if (missing !== null) return { kind: "later", reason: missing };
  const rendered = render(webhook, event, maxBodyBytes, ticket.delivery.id);
  if (rendered.ok) return { kind: "send", request: rendered.request };
  return unsendable(rendered.outcome, rendered.error, rendered.errorClass);
}

function unsendable(
  outcome: "error" | "undecidable",
  reason: string,
  errorClass: string | null = null,
): Reconsidered & { readonly kind: "unsendable" } {
  return { kind: "unsendable", outcome, errorClass, reason };
}
