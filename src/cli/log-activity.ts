import type { BridgeActivity } from "../bridge.ts";
import { classify } from "../errors.ts";
import type { Log } from "./log.ts";

/** Logs what a bridge does: one line a change of its state; attempts at level debug, what ended badly as a warning. */
export function logActivity(log: Log): (activity: BridgeActivity) => void {
  const waits = logWaits(log);
  return (activity) => {
    if (activity.kind === "attempt") {
      logAttempt(log, activity);
      return;
    }
    if (activity.state === "waiting") {
      waits(activity.error);
      return;
    }
    waits(null);
    if (activity.error === null) log("info", activity.state);
    else log("error", activity.state, errorFacts(activity.error));
  };
}

/** Logs why it waits, once for each reason: an outage of an hour is one line, and its attempts are at level debug. */
export function logWaits(log: Log): (error: unknown) => void {
  let reason: string | null = null;
  return (error) => {
    if (error === null) {
      reason = null;
      return;
    }
    const facts = errorFacts(error);
    log(facts.code === reason ? "debug" : "warn", "waiting", facts);
    reason = facts.code;
  };
}

function errorFacts(error: unknown): { readonly code: string; readonly error: string; readonly hint?: string } {
  const { code, message, hint } = classify(error);
  return hint === null ? { code, error: message } : { code, error: message, hint };
}

function logAttempt(log: Log, { attempt }: BridgeActivity & { readonly kind: "attempt" }): void {
  const isBad = attempt.outcome !== "delivered" && attempt.outcome !== "retry";
  log(isBad ? "warn" : "debug", `webhook ${attempt.outcome}`, {
    delivery: attempt.delivery.id,
    webhook: attempt.delivery.webhookName,
    doctype: attempt.delivery.doctype,
    docname: attempt.delivery.docname,
    event: attempt.delivery.docevent,
    attempt: attempt.attempt,
    status: attempt.statusCode,
    ms: attempt.durationMs === null ? null : Math.round(attempt.durationMs * 10) / 10,
    error: attempt.error,
  });
}
