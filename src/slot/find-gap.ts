import { formatLsn, type Lsn } from "../replication/lsn.ts";
import type { Gap } from "./gap.ts";
import type { GapFacts, PublicationProblem } from "./gap-facts.ts";

/** While nothing happens the slot moves without a write of ours; the stored place follows at the latest after this much WAL. */
export const MAX_UNSTORED_BYTES: bigint = 16n * 1024n * 1024n;

/** From which version on a slot reads a publication that is younger than its place: before, it fails for ever. */
const TOLERATES_YOUNG_PUBLICATIONS = 180_000;

/** What is missing whatever the slot's place: an open gap, or one of system, slot and publications. */
export function findGap(facts: GapFacts): Gap | null {
  return facts.openGap ?? findCopy(facts) ?? findSlotGap(facts) ?? publicationGap(facts.publicationProblems, facts);
}

/**
 * Whether somebody else moved the slot: it stands farther than what was acknowledged explains. To be asked while
 * nobody else can move it.
 * @param acknowledged what this process has told the slot in its former session; null: there was none
 */
export function findMovedSlot(facts: GapFacts, acknowledged: Lsn | null): Gap | null {
  const { slot, flushLsn, stoppedLsn, slotName } = facts;
  if (slot.state !== "ready" || flushLsn === null) return null;
  const explained = acknowledged ?? stoppedLsn ?? flushLsn + MAX_UNSTORED_BYTES;
  const stands = slot.confirmedFlushLsn;
  if (stands <= explained) return null;
  const left = acknowledged ?? stoppedLsn ?? flushLsn;
  return {
    kind: "slot_moved",
    message:
      `the replication slot ${slotName} stands at ${formatLsn(stands)}, and Walhook left it at ${formatLsn(left)}: ` +
      "somebody advanced it, or dropped it and made it anew",
    fromLsn: left,
    toLsn: stands,
    needsSlot: true,
    recordedAt: null,
  };
}

/**
 * What the publications no longer carry.
 * @param seen changes before it are known to be complete; null: all that is stored
 */
export function publicationGap(
  problems: readonly PublicationProblem[],
  facts: Pick<GapFacts, "versionNumber" | "flushLsn" | "walLsn">,
  seen: Lsn | null = null,
): Gap | null {
  const [first] = problems;
  if (first === undefined) return null;
  const { versionNumber, flushLsn, walLsn } = facts;
  // A changed webhook that was missed is only made good by a slot that begins with the configuration of its moment.
  const needsSlot = problems.some(
    ({ kind, isConfiguration }) =>
      isConfiguration || (kind === "publication_missing" && versionNumber < TOLERATES_YOUNG_PUBLICATIONS),
  );
  // A slot that goes on still has what it had not sent before.
  const isUnread = needsSlot && flushLsn !== null && seen !== null && flushLsn < seen;
  return {
    kind: first.kind,
    message: problems.map(({ problem }) => problem).join("; "),
    fromLsn: isUnread ? flushLsn : (seen ?? flushLsn),
    toLsn: walLsn,
    needsSlot,
    recordedAt: null,
  };
}

function findCopy(facts: GapFacts): Gap | null {
  const { recordedSystem, actualSystem, recordedDatabase, actualDatabase, flushLsn, walLsn } = facts;
  if (recordedSystem !== null && recordedSystem !== actualSystem) {
    return {
      kind: "other_system",
      message: `this is another cluster (system identifier ${actualSystem}) than the one whose cursor is recorded (${recordedSystem})`,
      fromLsn: flushLsn,
      // Places of one cluster say nothing in another.
      toLsn: null,
      needsSlot: true,
      recordedAt: null,
    };
  }
  if (recordedDatabase !== null && recordedDatabase !== actualDatabase) {
    return {
      kind: "other_database",
      message: "this database is a copy of the one whose cursor is recorded",
      fromLsn: flushLsn,
      toLsn: walLsn,
      needsSlot: true,
      recordedAt: null,
    };
  }
  return null;
}

function findSlotGap({ slot, slotName, flushLsn, walLsn }: GapFacts): Gap | null {
  const gap = { fromLsn: flushLsn, toLsn: walLsn, needsSlot: true, recordedAt: null };
  switch (slot.state) {
    case "missing":
      return { ...gap, kind: "slot_missing", message: `the replication slot ${slotName} does not exist any more` };
    case "foreign":
      return {
        ...gap,
        kind: "slot_recreated",
        message: `the replication slot ${slotName} is not the one that Walhook made: ${slot.reason}`,
      };
    case "lost":
      return {
        ...gap,
        kind: "slot_lost",
        message: `the replication slot ${slotName} was invalidated (${slot.reason}): its WAL is gone`,
      };
    case "unready":
    case "ready":
      return null;
  }
}
