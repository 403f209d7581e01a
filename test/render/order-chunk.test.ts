import { describe, expect, it } from "vitest";
import type { Match } from "../../src/match/match.ts";
import type { MatchedChunk } from "../../src/match/matcher.ts";
import { type OrderChunk, orderChunks } from "../../src/render/order-chunk.ts";
import { eventOf, inserted, order, webhook } from "./changes.ts";

const END = { commitLsn: 900n, changeLsn: 0xffff_ffff_ffff_ffffn, index: 0 };
const MAX_BODY_BYTES = 1_000_000;

/** So many changes, each with so many webhooks that fire. */
function chunkOf(changes: number, webhooks: number, note = ""): MatchedChunk {
  const matches: Match[] = [];
  for (let n = 0; n < changes; n++) {
    const place = { position: { commitLsn: 900n, changeLsn: BigInt(n), index: 0 } };
    const event = eventOf({ ...inserted(order({ id: String(n), note })), ...place }, "after_insert");
    for (let id = 1; id <= webhooks; id++) matches.push({ kind: "fires", event, webhook: webhook({ id }) });
  }
  return { matches, position: END, flushLsn: 950n, bytes: 4711, change: null };
}

const partsOf = (chunk: MatchedChunk): OrderChunk[] => [
  ...orderChunks(chunk, (_, { changeLsn }, __, webhookId) => `${changeLsn} ${webhookId}`, MAX_BODY_BYTES),
];
const idsOf = (parts: readonly OrderChunk[]): string[] =>
  parts.flatMap(({ orders }) => orders.map(({ delivery }) => delivery.id));

describe("a chunk's orders", () => {
  it("are one part where they are few, with all that the chunk tells", () => {
    const [part, ...others] = partsOf(chunkOf(10, 2));
    expect(others).toEqual([]);
    expect(part).toMatchObject({ position: END, flushLsn: 950n, bytes: 4711 });
    expect(part?.orders).toHaveLength(20);
  });

  it("are one part where there are none", () => {
    expect(partsOf(chunkOf(0, 0))).toEqual([
      { orders: [], orderBytes: 0, position: END, flushLsn: 950n, bytes: 4711, change: null },
    ]);
  });

  it("are parts of whole changes, in order, where they are many; each part tells how far it goes, the last the rest", () => {
    const chunk = chunkOf(40, 100);
    const parts = partsOf(chunk);
    expect(parts).toHaveLength(8);
    expect(idsOf(parts)).toEqual(
      chunk.matches.map(({ event, webhook: { id } }) => `${event.change.position.changeLsn} ${id}`),
    );
    for (const part of parts.slice(0, -1)) {
      expect(part).toMatchObject({ flushLsn: 0n, bytes: 0, change: null });
      expect(part.orders).toHaveLength(500);
      expect(part.position).toEqual(part.orders.at(-1)?.delivery.position);
    }
    expect(parts.at(-1)).toMatchObject({ position: END, flushLsn: 950n, bytes: 4711 });
  });

  it("of one change stay together, however many they are", () => {
    expect(partsOf(chunkOf(2, 1200)).map(({ orders }) => orders.length)).toEqual([1200, 1200]);
  });

  it("are cut where their bodies get large", () => {
    const parts = partsOf(chunkOf(30, 1, "x".repeat(100_000)));
    expect(parts.length).toBeGreaterThan(1);
    for (const { orderBytes } of parts) expect(orderBytes).toBeLessThan(1_200_000);
    expect(idsOf(parts)).toHaveLength(30);
  });

  it("are rendered when a part is asked for, not before", () => {
    let asked = 0;
    const parts = orderChunks(chunkOf(40, 100), () => String(asked++), MAX_BODY_BYTES);
    parts.next();
    expect(asked).toBe(500);
  });
});

describe("a body above the limit", () => {
  it("is no request: its order says how large it is, what the limit is and what to do", () => {
    const [part] = partsOf(chunkOf(1, 1, "x".repeat(1_000_001)));
    expect(part).toMatchObject({ orderBytes: 0 });
    expect(part?.orders[0]).toMatchObject({
      kind: "unsendable",
      outcome: "error",
      errorClass: "body_too_large",
      reason: expect.stringMatching(/1000\d{3} bytes or more, and no more than 1000000 .*--max-body-bytes/),
    });
  });
});
