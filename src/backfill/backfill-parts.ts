import type { Relation } from "../decode/relation.ts";
import type { Match } from "../match/match.ts";
import type { MatchedChunk } from "../match/matcher.ts";
import type { DeliveryId } from "../render/delivery-id.ts";
import { orderChunks, type OrderChunk } from "../render/order-chunk.ts";
import { advance, type Key, type Progress } from "./progress.ts";
import type { ReadRow } from "./read-rows.ts";

/** The deliveries of some rows, and how far the backfill is once they are durable. */
export interface BackfillChunk extends OrderChunk {
  readonly backfill: Progress;
}

/** What was read, and what of it is to be sent. */
export interface PartsOptions {
  readonly rows: readonly ReadRow[];
  readonly relation: Relation;
  /** Of rows; the index of each in `rows` is that of its change. In their order. */
  readonly matches: readonly Match[];
  /** Where it is sent. */
  readonly position: MatchedChunk["position"];
  readonly before: Progress;
  readonly wasPending: boolean;
  readonly reached: Key | null;
  readonly deliveryId: DeliveryId;
  readonly maxBodyBytes: number;
  /** Called with the last part's progress, before it is given out. */
  readonly onLast: (progress: Progress) => void;
}

/** Rows of a part at most, so that what the progress says keeps up with what is received. */
const MAX_ROWS = 100;

/** Renders some rows after the other as they are asked for; each part is durable by itself. */
export function* backfillParts(options: PartsOptions): Generator<BackfillChunk> {
  const { rows, relation, matches, position, wasPending, deliveryId, maxBodyBytes, onLast } = options;
  const place = { position, flushLsn: 0n, bytes: 0, change: null };
  let progress = options.before;
  let firstMatch = 0;
  let done = 0;
  do {
    const end = Math.min(done + MAX_ROWS, rows.length);
    let lastMatch = firstMatch;
    while (lastMatch < matches.length && indexOf(matches[lastMatch]) < end) lastMatch++;
    const chunk = { ...place, matches: matches.slice(firstMatch, lastMatch) };
    for (const part of orderChunks(chunk, deliveryId, maxBodyBytes)) {
      const isWhole = part.position === position;
      const partEnd = isWhole ? end : part.position.index + 1;
      const isLast = isWhole && end === rows.length;
      const last = rows[partEnd - 1];
      const rowKey = last === undefined ? null : keyOf(relation, last);
      const reached = isLast ? (options.reached ?? rowKey) : rowKey;
      const settled = { wasPending, reached, rows: partEnd - done, sent: part.orders.length };
      progress = advance(progress, settled);
      done = partEnd;
      if (isLast) onLast(progress);
      yield { ...part, ...place, backfill: progress };
    }
    firstMatch = lastMatch;
  } while (done < rows.length);
}

function indexOf(match: Match | undefined): number {
  return match?.event.change.position.index ?? 0;
}

/** The key of a row that was read; null where it was too long to be read. */
export function keyOf({ keyIndexes }: Relation, row: ReadRow): Key | null {
  if (row.kind === "error") return row.key;
  const key: string[] = [];
  for (const index of keyIndexes) {
    const text = row.values[index];
    if (text === undefined || text === null) return null;
    key.push(text);
  }
  return key;
}
