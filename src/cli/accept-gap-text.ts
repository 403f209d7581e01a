import type { AcceptedGap, OpenGap } from "../slot/accept-gap.ts";
import { gapRemedy, type Gap } from "../slot/gap.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";
import { formatBytes } from "./check/finding.ts";

/** A gap, for whoever has to decide: what, where, what it means, what would be done. */
export function describeGap({ gap, slotName, walLsn, queued }: OpenGap): readonly string[] {
  const since = gap.recordedAt === null ? "just found" : `found ${gap.recordedAt.toISOString()}`;
  return [
    `gap       ${gap.kind}, ${since}`,
    `          ${gap.message}`,
    `range     ${describeRange(gap.fromLsn, gap.toLsn)}`,
    `means     ${meaning(gap, walLsn)}`,
    `--yes     ${deed(gap.needsSlot, slotName)}`,
    `keeps     the log, and the queue with ${queued === 1 ? "1 open delivery" : `${queued} open deliveries`}, which go on`,
    ...(gap.kind === "other_system" || gap.kind === "other_database" ? [`caution   ${gapRemedy(gap.kind)}`] : []),
    "",
    "Nothing was done. To accept the gap and let the bridge go on:",
    "  walhook accept-gap --yes --reason '…'",
  ];
}

/** What was done. */
export function describeAccepted(accepted: AcceptedGap): readonly string[] {
  const { id, fromLsn, toLsn, slotName, isNewSlot, webhooks, cancelled, dropped } = accepted;
  return [
    `accepted, on record as walhook.gap ${id}: ${describeRange(fromLsn, toLsn)}`,
    ...(isNewSlot
      ? [`replication slot ${slotName} made at ${formatLsn(toLsn)}, ${webhooks} webhooks in force`]
      : [`publications repaired; replication slot ${slotName} goes on where the bridge stopped`]),
    ...dropped.filter((name) => name !== slotName).map((name) => `replication slot ${name} dropped`),
    ...(cancelled > 0 ? [`open deliveries of webhooks deleted meanwhile cancelled: ${cancelled}`] : []),
    "next: walhook run",
  ];
}

function meaning({ needsSlot, fromLsn, kind }: Gap, walLsn: Lsn | null): string {
  if (!needsSlot) {
    return "what these tables committed in the range, and until this is accepted, is not delivered; all else is";
  }
  const isKnown = fromLsn !== null && walLsn !== null && walLsn > fromLsn && kind !== "other_system";
  const size = isKnown ? ` (${formatBytes(Number(walLsn - fromLsn))} of WAL so far)` : "";
  return `what was committed since the range began, in any table, is not delivered until the new slot begins${size}`;
}

function deed(needsSlot: boolean, slotName: string): string {
  return needsSlot
    ? `makes a new slot that begins now, with the webhooks as they are now, and drops ${slotName} if it is still there`
    : `puts the tables back into their publications; slot ${slotName} goes on where the bridge stopped`;
}

function describeRange(from: Lsn | null, to: Lsn | null): string {
  if (from === null) return "not known";
  if (to === null) return `from ${formatLsn(from)}, to a place that is not known`;
  const bytes = to > from ? formatBytes(Number(to - from)) : "no";
  return `from ${formatLsn(from)} to ${formatLsn(to)}, ${bytes} of WAL`;
}
