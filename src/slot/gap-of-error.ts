import { classify, WalhookError } from "../errors.ts";
import type { Queryable } from "../db/queryable.ts";
import { findGap } from "./find-gap.ts";
import { GapError, type GapKind } from "./gap.ts";
import { readGapFacts } from "./gap-facts.ts";

/** What the server says when it cannot send a slot's changes; the catalogs say it more exactly. */
const KINDS: readonly GapKind[] = ["slot_missing", "slot_lost", "publication_missing"];

/** An error as what it means: a `GapError` where changes may be missing, else the error itself. */
export async function gapOfError(error: unknown, db: Queryable): Promise<unknown> {
  const { code, message } = classify(error);
  const kind = KINDS.find((known) => known === code);
  if (error instanceof GapError || kind === undefined) return error;
  const facts = await readGapFacts(db);
  if (facts === null) return error;
  const found = findGap(facts);
  if (found !== null) return new GapError(found, error);
  if (kind === "slot_missing") {
    // Somebody accepted a gap between our look and the attempt to read it.
    return new WalhookError("the replication slot was replaced meanwhile", {
      code: "slot_replaced",
      kind: "retry",
      cause: error,
    });
  }
  const { flushLsn: fromLsn, walLsn: toLsn } = facts;
  return new GapError({ kind, message, fromLsn, toLsn, needsSlot: true, recordedAt: null }, error);
}
