import { createHash } from "node:crypto";
import type { Position } from "../decode/position.ts";
import type { Transaction } from "../decode/row-change.ts";

/** Ids of backfills are made of (backfill, key), since the same row may be read again after a crash, at another place. */
export const NO_TRANSACTION: Transaction = { commitLsn: 0n, commitTimeUs: 0n, xid: 0 };

/** What stands in an id in the place of a change's position: the backfill's number and 96 bits of a hash over the key. */
export function backfillPlace(backfillId: string, docname: string): Position {
  const digest = createHash("sha256").update(`${backfillId}/${docname}`).digest();
  return { commitLsn: BigInt(backfillId), changeLsn: digest.readBigUInt64BE(0), index: digest.readUInt32BE(8) };
}
