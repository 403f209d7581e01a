import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { comparePositions, type Position } from "../../src/decode/position.ts";
import type { Transaction } from "../../src/decode/row-change.ts";
import { DOC_EVENT_NUMBERS, DOC_EVENTS, type DocEventName } from "../../src/events/doc-event.ts";
import { deliveryIds } from "../../src/render/delivery-id.ts";

const ORIGIN = { systemIdentifier: "7412345678901234567", databaseOid: 16_384 };
const TRANSACTION: Transaction = { commitLsn: 0x16_b374_d848n, commitTimeUs: 1_795_539_332_123_456n, xid: 771 };
const POSITION: Position = { commitLsn: 0x16_b374_d848n, changeLsn: 0x16_b374_d800n, index: 3 };

const lsn = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 300n }));
const place = fc.record({
  commitLsn: lsn,
  changeLsn: lsn,
  index: fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
  docevent: fc.constantFrom(...DOC_EVENTS),
  webhookId: fc.oneof(fc.nat(300), fc.nat(2 ** 31 - 1)),
});
type Place = Position & { readonly docevent: DocEventName; readonly webhookId: number };

const idOf = ({ docevent, webhookId, ...position }: Place, transaction = TRANSACTION): string =>
  deliveryIds(ORIGIN)(transaction, position, docevent, webhookId);

const compare = (a: Place, b: Place): number =>
  comparePositions(a, b) || DOC_EVENT_NUMBERS[a.docevent] - DOC_EVENT_NUMBERS[b.docevent] || a.webhookId - b.webhookId;

describe("a delivery's id", () => {
  it("never changes: receivers and queued deliveries know it", () => {
    expect(deliveryIds(ORIGIN)(TRANSACTION, POSITION, "on_update", 7)).toBe(
      "msg_000005ljejc4g00000bb6t6o0000000304000007u1ccfkb2",
    );
  });
  it("sorts as bytes in the order of the stream, then of doc event and webhook, and tells all of them apart", () => {
    fc.assert(
      fc.property(place, place, (a, b) => {
        const [first, second] = [idOf(a), idOf(b)];
        return Math.sign(Buffer.compare(Buffer.from(first), Buffer.from(second))) === Math.sign(compare(a, b));
      }),
      { numRuns: 2000 },
    );
  });
  it("is 52 characters of a-z, 0-9 and one underscore, without a full stop", () => {
    fc.assert(fc.property(place, (any) => /^msg_[0-9a-v]{48}$/.test(idOf(any))));
  });
  it("holds place, doc event and webhook: they can be read back", () => {
    fc.assert(
      fc.property(place, (any) => {
        const bits = Array.from(idOf(any).slice(4), (digit) => Number.parseInt(digit, 32).toString(2).padStart(5, "0"));
        const value = (from: number, length: number): bigint => BigInt(`0b${bits.join("").slice(from, from + length)}`);
        expect([value(0, 64), value(64, 64), value(128, 32), value(160, 8), value(168, 32)]).toEqual([
          any.commitLsn,
          any.changeLsn,
          BigInt(any.index),
          BigInt(DOC_EVENT_NUMBERS[any.docevent]),
          BigInt(any.webhookId),
        ]);
      }),
    );
  });
  it("differs on another timeline, server or database that wrote something else at the same place", () => {
    const ids = [
      deliveryIds(ORIGIN)(TRANSACTION, POSITION, "on_update", 7),
      deliveryIds(ORIGIN)({ ...TRANSACTION, xid: 772 }, POSITION, "on_update", 7),
      deliveryIds(ORIGIN)({ ...TRANSACTION, commitTimeUs: 1_795_539_332_123_457n }, POSITION, "on_update", 7),
      deliveryIds({ ...ORIGIN, systemIdentifier: "1" })(TRANSACTION, POSITION, "on_update", 7),
      deliveryIds({ ...ORIGIN, databaseOid: 1 })(TRANSACTION, POSITION, "on_update", 7),
    ];
    expect(new Set(ids).size).toBe(ids.length);
    expect(new Set(ids.map((id) => id.slice(0, 44))).size).toBe(1);
  });
  it("is the same whatever was asked for in between", () => {
    const ask = deliveryIds(ORIGIN);
    const other = { ...TRANSACTION, xid: 1 };
    const first = ask(TRANSACTION, POSITION, "on_update", 7);
    ask(other, { ...POSITION, index: 9 }, "on_trash", 8);
    expect(ask({ ...TRANSACTION }, { ...POSITION }, "on_update", 7)).toBe(first);
  });
});
