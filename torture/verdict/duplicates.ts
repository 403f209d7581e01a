import type { Repetition } from "./compare.ts";
import type { Injected } from "../faults/fault-schedule.ts";

/** A bridge's work came to an end, and what was under way had to be done again. */
export interface Ending {
  readonly reason: string;
  readonly atMs: number;
}

/** How long after a fault its effect may show: a request's timeout, and the server's. */
const EFFECT_MS = 10_000;

/**
 * Why a delivery was accepted twice: the bridge that had made it came to an end before that was stored, or did not see
 * the answer. Where neither shows, the fault that was there is named.
 */
export function causeOf(
  { firstMs, againMs, mode, isUnanswered, isReplayed }: Repetition,
  endings: readonly Ending[],
  injected: readonly Injected[],
): string {
  if (isReplayed) return "replayed";
  if (mode === "reset after 200") return "the receiver took its answer back";
  const between = endings.find(({ atMs }) => atMs >= firstMs && atMs <= againMs);
  if (between !== undefined) return between.reason;
  if (isUnanswered) return "the bridge saw no answer in time";
  // What a bridge had sent before its end may be read by a busy receiver after it.
  const before = endings.findLast(({ atMs }) => atMs <= firstMs && atMs + EFFECT_MS >= firstMs);
  if (before !== undefined) return before.reason;
  const fault = injected.findLast(
    ({ kind, atMs, endedMs }) =>
      kind !== "schema changed" && atMs <= againMs && (endedMs ?? againMs) + EFFECT_MS >= firstMs,
  );
  return fault === undefined ? "unexplained" : `during: ${fault.kind}`;
}
