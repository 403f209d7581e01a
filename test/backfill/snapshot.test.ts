import { describe, expect, it } from "vitest";
import { NewerDeliveries } from "../../src/backfill/newer-deliveries.ts";
import { Snapshot } from "../../src/backfill/snapshot.ts";
import type { Match } from "../../src/match/match.ts";
import type { Order } from "../../src/render/delivery.ts";

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
    { oldDocname = null, webhookId = 1, oid = 7 }: Partial<Record<string, unknown>> = {},
  ): Match =>
    ({
      webhook: { id: webhookId },
      event: { docname, oldDocname, change: { transaction: { xid }, relation: { oid } } },
    }) as unknown as Match;

  const note = (newer: NewerDeliveries, matches: readonly Match[], kind: Order["kind"] = "request"): void => {
    for (const one of matches) newer.note(one, { kind } as Order);
  };
  const names = (...all: (string | null)[]): Set<string | null> => new Set(all);

  it("are those of its webhook and table by later transactions, under both names where a key changed", () => {
    const newer = new NewerDeliveries(7, 1);
    note(newer, [match(9, "a"), match(12, "b"), match(21, "c", { oldDocname: "d" })]);
    note(newer, [match(12, "e", { webhookId: 2 }), match(22, "f", { oid: 8 }), match(24, "h")]);
    expect(newer.unseen(new Snapshot("10:20:12"))).toEqual({ sent: names("b", "c", "d", "h"), undecided: names() });
    // What a reading saw, later ones see too.
    expect(newer.unseen(new Snapshot("22:22:"))).toEqual({ sent: names("h"), undecided: names() });
    expect(newer.unseen(new Snapshot("30:30:"))).toEqual({ sent: names(), undecided: names() });
  });

  it("are not those that could not be sent, nor those whose condition has not been answered, which are told apart", () => {
    const newer = new NewerDeliveries(7, 1);
    note(newer, [match(5, "never")], "unsendable");
    note(newer, [match(5, "perhaps")], "undecided");
    note(newer, [match(6, "b")]);
    expect(newer.unseen(new Snapshot("5:5:"))).toEqual({ sent: names("b"), undecided: names("perhaps") });
    expect(newer.unseen(new Snapshot("6:6:"))).toEqual({ sent: names("b"), undecided: names() });
  });

  it("are all documents after a TRUNCATE that is delivered", () => {
    const newer = new NewerDeliveries(7, 1);
    note(newer, [match(5, null)]);
    expect(newer.unseen(new Snapshot("5:5:"))).toEqual({ sent: names(null), undecided: names() });
  });

  it("are not remembered beyond 100,000 documents: then nobody knows", () => {
    const newer = new NewerDeliveries(7, 1);
    note(
      newer,
      Array.from({ length: 100_000 }, (_, n) => match(5, String(n))),
    );
    expect(newer.unseen(new Snapshot("5:5:"))?.sent.size).toBe(100_000);
    note(newer, [match(5, "one more")]);
    expect(newer.unseen(new Snapshot("9:9:"))).toBeNull();
  });
});
