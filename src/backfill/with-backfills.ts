import type { OrderChunk } from "../render/order-chunk.ts";
import type { BackfillChunk } from "./backfill-parts.ts";

/** The parts of a chunk, and behind them the rows of a backfill whose watermark it ended in. */
export function* withBackfills(
  parts: Iterable<OrderChunk>,
  read: Iterable<BackfillChunk>,
): Generator<OrderChunk | BackfillChunk> {
  yield* parts;
  yield* read;
}
