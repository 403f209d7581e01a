import type { Repetition } from "./compare.ts";
import type { Injected } from "./fault-schedule.ts";

/** Longer than any fault keeps its effect: timeouts of requests and of the server have passed by then. */
const EFFECT_MS = 15_000;

/** Why deliveries were accepted twice, with counts: each by the last fault that was there between the two, or shortly before. */
export function explainDuplicates(
  repeated: readonly Repetition[],
  injected: readonly Injected[],
): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const repetition of repeated) {
    const cause = causeOf(repetition, injected);
    counts[cause] = (counts[cause] ?? 0) + 1;
  }
  return counts;
}

function causeOf({ firstMs, againMs, mode }: Repetition, injected: readonly Injected[]): string {
  if (mode === "reset after 200") return "the receiver took its answer back";
  const between = injected.findLast(
    ({ atMs, endedMs }) => atMs <= againMs && (endedMs ?? Infinity) + EFFECT_MS >= firstMs,
  );
  return between === undefined ? "unexplained" : between.kind;
}
