import type { Repetition } from "./compare.ts";
import type { Injected } from "./fault-schedule.ts";

/** A bridge's work came to an end, and what was under way had to be done again. */
export interface Ending {
  readonly reason: string;
  readonly atMs: number;
}

/** How long after a fault its effect may show: a request's timeout, and the server's. */
const EFFECT_MS = 10_000;

/**
 * Why a delivery was accepted twice: the bridge that had made it came to an end before that was stored. Where no bridge
 * did, it was kept from seeing the answer in time, or from telling; then the fault that was there is named.
 */
export function causeOf(
  { firstMs, againMs, mode }: Repetition,
  endings: readonly Ending[],
  injected: readonly Injected[],
): string {
  if (mode === "reset after 200") return "the receiver took its answer back";
  const ending = endings.find(({ atMs }) => atMs >= firstMs && atMs <= againMs);
  if (ending !== undefined) return ending.reason;
  const fault = injected.findLast(
    ({ kind, atMs, endedMs }) =>
      kind !== "schema changed" && atMs <= againMs && (endedMs ?? againMs) + EFFECT_MS >= firstMs,
  );
  return fault === undefined ? "unexplained" : `during: ${fault.kind}`;
}
