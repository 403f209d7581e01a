import { WalhookError } from "../errors.ts";
import type { Lsn } from "../replication/lsn.ts";
import type { Queryable } from "../db/queryable.ts";
import { findGap, findMovedSlot } from "./find-gap.ts";
import { type GapFacts, readGapFacts } from "./gap-facts.ts";
import { GapError } from "./gap.ts";

/** The slot on record. */
export interface BridgeSlot {
  readonly slotName: string;
  readonly systemIdentifier: string;
  readonly databaseOid: number;
  /** As the row has it now; whoever takes the slot over raises it. */
  readonly epoch: bigint;
  /** Where the WAL ended before the publications were looked at. */
  readonly walLsn: Lsn | null;
}

/**
 * Reads the slot on record and throws where its changes cannot be complete: a gap is never silent.
 * To be asked before the slot is streamed; `requireUnmoved` after.
 */
export async function readBridgeSlot(db: Queryable): Promise<BridgeSlot> {
  const facts = requireInstalled(await readGapFacts(db));
  const { slotName, actualSystem, actualDatabase, epoch, walLsn, slot } = facts;
  const gap = findGap(facts);
  if (gap !== null) throw new GapError(gap);
  if (slot.state === "unready") {
    throw new WalhookError(`the replication slot ${slotName} is being made`, { code: "slot_unready", kind: "retry" });
  }
  return { slotName, systemIdentifier: actualSystem, databaseOid: actualDatabase, epoch, walLsn };
}

/**
 * Throws where the slot stands farther than Walhook left it. To be asked once START_REPLICATION has succeeded and
 * nothing was acknowledged yet: then nobody else moves it.
 * @param former what this process told the slot in its last session; null: it had none
 */
export async function requireUnmoved(
  db: Queryable,
  former: { readonly epoch: bigint; readonly acknowledged: () => Lsn } | null,
): Promise<void> {
  const facts = requireInstalled(await readGapFacts(db));
  const acknowledged = former?.epoch === facts.epoch ? former.acknowledged() : null;
  const gap = findGap(facts) ?? findMovedSlot(facts, acknowledged);
  if (gap !== null) throw new GapError(gap);
}

/** @throws WalhookError `not_installed`, `no_slot`, `database_read_only` where there is nothing that could have a gap */
export function requireInstalled(facts: GapFacts | null): GapFacts & { readonly slotName: string } {
  if (facts === null) {
    throw new WalhookError("walhook.bridge has no row", { code: "not_installed", hint: "Run `walhook install`." });
  }
  if (facts.isInRecovery) {
    throw new WalhookError("the server is a standby", {
      code: "database_read_only",
      kind: "retry",
      hint: "Point DATABASE_URL at the primary; after a failover Walhook goes on where the slot was synchronized.",
    });
  }
  const { slotName } = facts;
  if (slotName === null) {
    throw new WalhookError("no replication slot has been made yet", {
      code: "no_slot",
      hint: "Run `walhook install`.",
    });
  }
  return { ...facts, slotName };
}
