import type { OrderChunk } from "../render/order-chunk.ts";
import type { BackfillChunk } from "./backfiller.ts";

/** The parts of a chunk, and behind them the rows of backfills whose second watermark it ended in. */
export function* withBackfills(
  parts: Iterable<OrderChunk>,
  read: readonly BackfillChunk[],
): Generator<OrderChunk | BackfillChunk> {
  yield* parts;
  yield* read;
}
