import { endOfTransaction } from "../../src/decode/chunk.ts";
import type { Position } from "../../src/decode/position.ts";
import { laneKeys } from "../../src/deliver/lanes.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";

/** What three webhooks do. */
export const ORDERED = 1;
/** A dead letter holds its lane. */
export const HOLDING = 2;
export const UNORDERED = 3;

/** A change of the simulated WAL: one delivery each. */
export interface Change {
  readonly id: string;
  readonly webhookId: number;
  readonly position: Position;
  readonly docname: string | null;
  readonly oldDocname: string | null;
  readonly isTruncate: boolean;
}

/** What somebody asked for about all dead letters of a webhook. */
export interface SimulatedRepair {
  readonly kind: "replay" | "cancel";
  readonly webhookId: number;
}

export interface Transaction {
  readonly commitLsn: bigint;
  readonly endLsn: bigint;
  readonly changes: readonly Change[];
  readonly repair: SimulatedRepair | null;
}

export interface Dice {
  chance(p: number): boolean;
  /** A whole number in [0, n). */
  below(n: number): number;
}

/** Twelve transactions, each beginning where the one before it ended. */
export function makeWal({ below, chance }: Dice): Transaction[] {
  const names = ["A", "B", "C"];
  const transactions: Transaction[] = [];
  let lsn = 100n;
  for (let t = 0; t < 12; t++) {
    const first = lsn;
    const count = below(6);
    const commitLsn = first + BigInt(count) + 1n;
    const changes: Change[] = [];
    for (let c = 0; c < count; c++) {
      const docname = chance(0.1) ? null : names[below(3)]!;
      changes.push({
        id: `${t}.${c}`,
        webhookId: chance(0.4) ? ORDERED : chance(0.7) ? HOLDING : UNORDERED,
        position: { commitLsn, changeLsn: first + BigInt(c), index: 0 },
        docname,
        oldDocname: docname !== null && chance(0.1) ? names[below(3)]! : null,
        isTruncate: docname === null && chance(0.5),
      });
    }
    lsn = commitLsn + 1n;
    transactions.push({ commitLsn, endLsn: lsn, changes, repair: chance(0.15) ? makeRepair({ below, chance }) : null });
  }
  return transactions;
}

/** A transaction behind the last one that does nothing but ask for a repair. */
export function appendRepair(wal: Transaction[], repair: SimulatedRepair): void {
  const commitLsn = wal.at(-1)!.endLsn;
  wal.push({ commitLsn, endLsn: commitLsn + 1n, changes: [], repair });
}

function makeRepair({ below, chance }: Dice): SimulatedRepair {
  return { kind: chance(0.7) ? "replay" : "cancel", webhookId: 1 + below(3) };
}

/** The place behind a part of a transaction. */
export function placeBehind(transaction: Transaction, changes: number): Position {
  return changes >= transaction.changes.length
    ? endOfTransaction(transaction.commitLsn)
    : transaction.changes[changes - 1]!.position;
}

export function toTicket({ id, webhookId, position, docname, oldDocname, isTruncate }: Change): Ticket {
  return newTicket(
    {
      id,
      webhookId,
      webhookName: "w",
      doctype: "t",
      docname,
      oldDocname,
      docevent: isTruncate ? "on_truncate" : "on_update",
      source: "live",
      position,
      xid: 1,
      commitTimeUs: 0n,
      isOrdered: webhookId !== UNORDERED,
    },
    null,
  );
}

/** Whether the later of two changes has to wait for the earlier one. */
export function conflicts(a: Change, b: Change): boolean {
  if (a.webhookId !== b.webhookId || a.webhookId === UNORDERED) return false;
  if (a.isTruncate || b.isTruncate) return true;
  const keys = laneKeys(toTicket(a));
  return laneKeys(toTicket(b)).some((key) => keys.includes(key));
}
