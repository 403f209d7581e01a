import { createHash } from "node:crypto";
import type { Lsn } from "../replication/lsn.ts";
import type { Position } from "../decode/position.ts";
import type { Transaction } from "../decode/row-change.ts";
import { DOC_EVENT_NUMBERS, type DocEventName } from "../events/doc-event.ts";

/** The database whose changes are named: part of each id, so ids of two timelines or databases never meet. */
export interface Origin {
  readonly systemIdentifier: string;
  readonly databaseOid: number;
}

/** The id of the delivery of one doc event of one change for one webhook. */
export type DeliveryId = (
  transaction: Transaction,
  position: Position,
  docevent: DocEventName,
  webhookId: number,
) => string;

/**
 * Makes the function that gives deliveries their ids: `msg_` and 48 characters of base32hex in lower case
 * (RFC 4648 section 7, which sorts as its bytes do) over 240 bits:
 *
 *     commit LSN 64 | change LSN 64 | index 32 | doc event 8 | webhook number 32 | hash 40
 *
 * The hash is the start of SHA-256 over system identifier, database, xid and commit time. So ids of changes sort in
 * stream order as plain bytes (collation "C"), are equal whenever the same change is met again, and
 * differ where another timeline wrote something else at the same place. Not so those of a backfill, whose number stands
 * where others have the commit LSN (`backfill-place.ts`): they are below. Those of tests are random. So a receiver
 * is told to compare LSNs.
 */
export function deliveryIds(origin: Origin): DeliveryId {
  const tails = new Map<number, string>();
  let transaction: Transaction | null = null;
  let hash = "";
  let position: Position | null = null;
  let place = "";
  return (ofTransaction, ofPosition, docevent, webhookId) => {
    // Changes come in stream order and each is asked for several times, so remembering the last one is enough.
    if (ofTransaction !== transaction) {
      transaction = ofTransaction;
      hash = transactionHash(origin, ofTransaction);
    }
    if (ofPosition !== position) {
      position = ofPosition;
      place = encodePlace(ofPosition);
    }
    const number = DOC_EVENT_NUMBERS[docevent];
    const key = number * 2 ** 32 + webhookId;
    let tail = tails.get(key);
    if (tail === undefined) {
      tail = group(number, webhookId);
      tails.set(key, tail);
    }
    return `msg_${place}${tail}${hash}`;
  };
}

function transactionHash({ systemIdentifier, databaseOid }: Origin, { xid, commitTimeUs }: Transaction): string {
  const digest = createHash("sha256").update(`${systemIdentifier}/${databaseOid}/${xid}/${commitTimeUs}`).digest();
  return group(digest[0] as number, digest.readUInt32BE(1));
}

/** 160 bits in four groups of 40. */
function encodePlace({ commitLsn, changeLsn, index }: Position): string {
  const commitHigh = high(commitLsn);
  const commitLow = low(commitLsn);
  const changeHigh = high(changeLsn);
  const changeLow = low(changeLsn);
  return (
    group(commitHigh >>> 24, ((commitHigh << 8) | (commitLow >>> 24)) >>> 0) +
    group((commitLow >>> 16) & 0xff, ((commitLow << 16) | (changeHigh >>> 16)) >>> 0) +
    group((changeHigh >>> 8) & 0xff, ((changeHigh << 24) | (changeLow >>> 8)) >>> 0) +
    group(changeLow & 0xff, index)
  );
}

function high(lsn: Lsn): number {
  return Number(lsn >> 32n);
}

function low(lsn: Lsn): number {
  return Number(lsn & 0xffff_ffffn);
}

const DIGITS = "0123456789abcdefghijklmnopqrstuv";
/** Two digits at a time: all 1,024 pairs. */
const PAIRS: readonly string[] = Array.from({ length: 1024 }, (_, bits) => `${DIGITS[bits >> 5]}${DIGITS[bits & 31]}`);

/** 40 bits, a byte and 32 bits behind it, as 8 digits. */
function group(first: number, rest: number): string {
  return (
    (PAIRS[(first << 2) | (rest >>> 30)] as string) +
    (PAIRS[(rest >>> 20) & 1023] as string) +
    (PAIRS[(rest >>> 10) & 1023] as string) +
    (PAIRS[rest & 1023] as string)
  );
}
