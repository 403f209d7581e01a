import { expect, it } from "vitest";
import { backfillPlace } from "../../src/render/backfill-place.ts";
import { deliveryIds } from "../../src/render/delivery-id.ts";
import { placeOfId } from "../../src/render/place-of-id.ts";

const deliveryId = deliveryIds({ systemIdentifier: "7000000000000000000", databaseOid: 5 });
const transaction = { commitLsn: 0n, commitTimeUs: 0n, xid: 0 };

it("the place of a change is read back from an id", () => {
  for (const position of [
    { commitLsn: 0x1a2b_3c4d_5e6fn, changeLsn: 0x1a2b_3c4d_0001n, index: 4_000_000_000 },
    { commitLsn: 0xffff_ffff_ffff_fffen, changeLsn: 1n, index: 0 },
  ]) {
    expect(placeOfId(deliveryId(transaction, position, "on_update", 3))).toEqual(position);
  }
});

it("of what is no such id there is no place", () => {
  expect([placeOfId("msg_1"), placeOfId(`bat_${"0".repeat(48)}`)]).toEqual([null, null]);
});

it("the id of a backfilled row depends on the backfill and the row alone, and sorts before every change's", () => {
  const idOf = (backfill: string, name: string): string =>
    deliveryId(transaction, backfillPlace(backfill, name), "backfill", 3);
  expect(idOf("1", "a")).toBe(idOf("1", "a"));
  expect(new Set([idOf("1", "a"), idOf("1", "b"), idOf("2", "a")]).size).toBe(3);
  const change = deliveryId(transaction, { commitLsn: 0x100_0000n, changeLsn: 1n, index: 0 }, "on_update", 3);
  expect(idOf("9", "z") < change).toBe(true);
});
