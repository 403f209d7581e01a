import { classify } from "../errors.ts";
import type { Queryable } from "../replication/slot.ts";
import { findGap } from "./find-gap.ts";
import { GapError, type GapKind } from "./gap.ts";
import { readGapFacts } from "./gap-facts.ts";

/** What the server says when it cannot send a slot's changes; the catalogs say it more exactly. */
const KINDS: readonly GapKind[] = ["slot_missing", "slot_lost", "publication_missing"];

/** The gap that an error means; null where it means none. */
export async function gapOfError(error: unknown, db: Queryable): Promise<GapError | null> {
  if (error instanceof GapError) return error;
  const { code, message } = classify(error);
  const kind = KINDS.find((known) => known === code);
  if (kind === undefined) return null;
  const facts = await readGapFacts(db);
  if (facts === null) return null;
  const found = findGap(facts) ?? {
    kind,
    message,
    fromLsn: facts.flushLsn,
    toLsn: facts.walLsn,
    needsSlot: true,
    recordedAt: null,
  };
  return new GapError(found, error);
}
