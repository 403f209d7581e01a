import type { Match } from "../match/match.ts";
import type { Order } from "../render/delivery.ts";
import type { OrderChunk } from "../render/order-chunk.ts";
import type { BackfillChunk } from "./backfill-parts.ts";

/** The parts of a chunk, each order told of together with its match, and behind them the rows of a backfill whose watermark it ended in. */
export function* withBackfills(
  parts: Iterable<OrderChunk>,
  matches: readonly Match[],
  note: (match: Match, order: Order) => void,
  read: Iterable<BackfillChunk>,
): Generator<OrderChunk | BackfillChunk> {
  let at = 0;
  for (const part of parts) {
    for (const order of part.orders) note(matches[at++] as Match, order);
    yield part;
  }
  yield* read;
}
