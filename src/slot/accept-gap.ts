import type pg from "pg";
import { classify, INSTALLER_HINT, WalhookError } from "../errors.ts";
import { formatLsn, type Lsn, parseLsn } from "../replication/lsn.ts";
import { requireInstalled } from "./bridge-slot.ts";
import { createAndRecord, dropForgotten, SLOT_LOCK } from "./create-bridge-slot.ts";
import { findGap, findMovedSlot, publicationGap } from "./find-gap.ts";
import type { Gap } from "./gap.ts";
import { type GapFacts, readGapFacts } from "./gap-facts.ts";
import { restorePublications } from "./restore-publications.ts";

/** A gap as it stands, with what going on would mean. */
export interface OpenGap {
  readonly gap: Gap;
  readonly slotName: string;
  /** Where the WAL ends now. */
  readonly walLsn: Lsn | null;
  /** Open deliveries in the queue, which go on. */
  readonly queued: number;
}

/** What was done to go on. */
export interface AcceptedGap {
  /** Its number in `walhook.gap`. */
  readonly id: number;
  readonly fromLsn: Lsn | null;
  /** Changes that commit behind it are seen again. */
  readonly toLsn: Lsn;
  /** The slot that the bridge goes on with. */
  readonly slotName: string;
  readonly isNewSlot: boolean;
  /** Webhooks in force on a new slot; null: the configuration goes on as it was. */
  readonly webhooks: number | null;
  /** Open deliveries of webhooks whose deletion was missed. */
  readonly cancelled: number;
  /** Former slots of this database, dropped. */
  readonly dropped: readonly string[];
}

/**
 * The gap that keeps a bridge from going on; null where there is none. Changes nothing.
 * @throws WalhookError `slot_in_use` while a bridge streams the slot; `not_installed`, `no_slot`
 */
export async function readOpenGap(client: pg.Client): Promise<OpenGap | null> {
  const facts = requireInstalled(await readGapFacts(client));
  if (facts.slot.state === "ready" && facts.slot.activePid !== null) {
    throw new WalhookError(`a bridge reads the replication slot ${facts.slotName} (process ${facts.slot.activePid})`, {
      code: "slot_in_use",
      hint: "While a bridge is at work there is no gap to accept. Stop `walhook run` first if you think otherwise.",
    });
  }
  const gap = widest(facts);
  if (gap === null) return null;
  const { rows } = await client.query<{ queued: number }>(
    "select count(*)::integer as queued from walhook.webhook_queue where not is_dead",
  );
  return { gap, slotName: facts.slotName, walLsn: facts.walLsn, queued: rows[0]?.queued ?? 0 };
}

/**
 * Publications are their owner's, and a table may have become one that cannot be published. The server's own HINT, where
 * it has one, names the exact statement.
 */
async function repair(client: pg.Client): Promise<void> {
  try {
    await restorePublications(client);
  } catch (error) {
    const { code, kind, message } = classify(error);
    if (kind === "retry") throw error;
    const { hint } = error as { hint?: string };
    const otherwise = code === "no_right" ? INSTALLER_HINT : null;
    throw new WalhookError(`the publications cannot be repaired: ${message}`, {
      code,
      hint: hint ?? otherwise,
      cause: error,
    });
  }
}

/** What was recorded may not be all any more: the slot can have been lost since. */
function widest(facts: GapFacts): Gap | null {
  const open = findGap(facts);
  const present = findGap({ ...facts, openGap: null }) ?? findMovedSlot(facts, null);
  if (open === null || open === present || present === null) return open ?? present;
  return { ...open, needsSlot: open.needsSlot || present.needsSlot };
}

/**
 * Accepts the open gap: repairs the publications, makes a new slot where the old one cannot go on, and writes down who
 * accepted what. Queue and log stay. All or nothing, but for the publications where there is a new slot to make.
 * @param url a direct connection string for the same database and role as `client`
 * @param reason kept in `walhook.gap`; null: none was given
 * @returns null where there is no gap
 */
export async function acceptGap(client: pg.Client, url: string, reason: string | null): Promise<AcceptedGap | null> {
  await client.query(SLOT_LOCK);
  const open = await readOpenGap(client);
  if (open === null) return null;
  // Whatever fails from here on, the gap stays open.
  await client.query(OPEN_GAP, [
    open.gap.kind,
    lsnText(open.gap.fromLsn),
    lsnText(open.gap.toLsn),
    open.gap.needsSlot,
    open.gap.message,
  ]);
  return open.gap.needsSlot ? goOnWithNewSlot(client, url, open, reason) : goOnWithSameSlot(client, open, reason);
}

const OPEN_GAP = `
  update walhook.bridge
  set state = 'gap', gap_kind = $1, gap_from_lsn = $2, gap_to_lsn = $3, gap_needs_slot = $4, last_error = $5,
      gap_detected_at = coalesce(gap_detected_at, now()), last_error_at = now(), updated_at = now()`;

async function goOnWithNewSlot(
  client: pg.Client,
  url: string,
  { slotName }: OpenGap,
  reason: string | null,
): Promise<AcceptedGap> {
  const facts = requireInstalled(await readGapFacts(client));
  // Before the slot: an older one would not see what is published later.
  if (publicationGap(facts.publicationProblems, facts) !== null) await repair(client);
  // Left by an attempt that was broken off.
  await dropForgotten(client, slotName);
  let closed: Closed = { id: 0, fromLsn: null };
  let cancelled = 0;
  const created = await createAndRecord(client, url, async (slot) => {
    const { rows } = await client.query<{ cancelled: number }>("select walhook.cancel_orphans() as cancelled");
    cancelled = rows[0]?.cancelled ?? 0;
    closed = await closeGap(client, { slotName, newSlotName: slot.slotName, toLsn: slot.consistentPoint, reason });
  });
  const dropped = await dropForgotten(client, created.slotName);
  return {
    ...closed,
    toLsn: created.consistentPoint,
    slotName: created.slotName,
    isNewSlot: true,
    webhooks: created.webhooks,
    cancelled,
    dropped,
  };
}

async function goOnWithSameSlot(client: pg.Client, { slotName }: OpenGap, reason: string | null): Promise<AcceptedGap> {
  await client.query("begin");
  try {
    await repair(client);
    const { rows } = await client.query<{ lsn: string }>("select pg_current_wal_insert_lsn()::text as lsn");
    const toLsn = parseLsn(rows[0]!.lsn);
    const { id, fromLsn } = await closeGap(client, { slotName, newSlotName: null, toLsn, reason });
    await client.query("commit");
    return { id, fromLsn, toLsn, slotName, isNewSlot: false, webhooks: null, cancelled: 0, dropped: [] };
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

interface Closed {
  readonly id: number;
  readonly fromLsn: Lsn | null;
}

async function closeGap(
  client: pg.Client,
  record: { slotName: string; newSlotName: string | null; toLsn: Lsn; reason: string | null },
): Promise<Closed> {
  const { rows } = await client.query<{ id: number; from_lsn: string | null }>(
    `insert into walhook.gap (kind, slot_name, from_lsn, to_lsn, detected_at, error, new_slot_name, reason)
     select gap_kind, $1, gap_from_lsn, $2, gap_detected_at, last_error, $3, $4 from walhook.bridge
     returning id, from_lsn::text`,
    [record.slotName, formatLsn(record.toLsn), record.newSlotName, record.reason],
  );
  // A process that froze before writes nothing more.
  await client.query(
    `update walhook.bridge
     set state = 'stopped', epoch = epoch + 1, gap_kind = null, gap_from_lsn = null, gap_to_lsn = null, gap_needs_slot = null,
         gap_detected_at = null, last_error = null, last_error_at = null, remedy = null, updated_at = now()`,
  );
  const { id, from_lsn } = rows[0]!;
  return { id, fromLsn: from_lsn === null ? null : parseLsn(from_lsn) };
}

function lsnText(lsn: Lsn | null): string | null {
  return lsn === null ? null : formatLsn(lsn);
}
