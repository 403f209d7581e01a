import { describe, expect, it } from "vitest";
import { NewerDeliveries } from "../../src/backfill/newer-deliveries.ts";
import { Snapshot } from "../../src/backfill/snapshot.ts";
import type { Match } from "../../src/match/match.ts";

describe("a snapshot", () => {
  it("has seen transactions that had ended, and none that ran or began later", () => {
    const snapshot = new Snapshot("10:20:10,14,15");
    const seen = Array.from({ length: 25 }, (_, xid) => xid).filter((xid) => snapshot.sees(xid));
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 18, 19]);
  });

  it("knows ids by their lower 32 bits, over their end", () => {
    const end = 3n << 32n;
    const snapshot = new Snapshot(`${end - 5n}:${end + 5n}:${end - 5n},${end + 3n}`);
    expect(snapshot.sees(2 ** 32 - 6)).toBe(true);
    expect(snapshot.sees(2 ** 32 - 5)).toBe(false);
    expect(snapshot.sees(2 ** 32 - 1)).toBe(true);
    expect(snapshot.sees(3)).toBe(false);
    expect(snapshot.sees(4)).toBe(true);
    expect(snapshot.sees(5)).toBe(false);
  });
});

describe("deliveries that a reading did not see", () => {
  const match = (
    xid: number,
    docname: string | null,
    { oldDocname = null, webhookId = 1, oid = 7, kind = "fires" }: Partial<Record<string, unknown>> = {},
  ): Match =>
    ({
      kind,
      webhook: { id: webhookId },
      event: { docname, oldDocname, change: { transaction: { xid }, relation: { oid } } },
    }) as unknown as Match;

  it("are those of its webhook and table by later transactions, under both names where a key changed", () => {
    const newer = new NewerDeliveries(7, 1);
    newer.note([match(9, "a"), match(12, "b"), match(21, "c", { oldDocname: "d" }), match(12, "e", { webhookId: 2 })]);
    newer.note([match(22, "f", { oid: 8 }), match(23, "g", { kind: "declined" }), match(24, "h")]);
    newer.note([match(25, "i", { kind: "undecidable" }), match(26, "j", { kind: "error" })]);
    expect(newer.unseen(new Snapshot("10:20:12"))).toEqual({ names: new Set(["b", "c", "d", "h"]), isAll: false });
    // What a reading saw, later ones see too.
    expect(newer.unseen(new Snapshot("22:22:"))).toEqual({ names: new Set(["h"]), isAll: false });
    expect(newer.unseen(new Snapshot("30:30:"))).toEqual({ names: new Set(), isAll: false });
  });

  it("are not known while a condition has not been answered, whose change may never be delivered; a reading that sees it goes on", () => {
    const newer = new NewerDeliveries(7, 1);
    newer.note([match(5, "a", { kind: "undecided" }), match(6, "b")]);
    expect(newer.unseen(new Snapshot("5:5:"))).toBeNull();
    expect(newer.unseen(new Snapshot("6:6:"))).toEqual({ names: new Set(["b"]), isAll: false });
  });

  it("are all documents after a TRUNCATE that is delivered", () => {
    const newer = new NewerDeliveries(7, 1);
    newer.note([match(5, null)]);
    expect(newer.unseen(new Snapshot("5:5:"))).toEqual({ names: new Set(), isAll: true });
  });

  it("are not remembered beyond 100,000 documents: then nobody knows", () => {
    const newer = new NewerDeliveries(7, 1);
    newer.note(Array.from({ length: 100_000 }, (_, n) => match(5, String(n))));
    expect(newer.unseen(new Snapshot("5:5:"))?.names.size).toBe(100_000);
    newer.note([match(5, "one more")]);
    expect(newer.unseen(new Snapshot("9:9:"))).toBeNull();
  });
});
