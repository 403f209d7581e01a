import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DecodeError } from "../../src/decode/decode-error.ts";
import { parsePgoutput } from "../../src/decode/pgoutput.ts";
import type { Tuple } from "../../src/decode/pgoutput-message.ts";

/** Messages as PostgreSQL 18.4 sent them. */
const GOLDEN: readonly (readonly [name: string, hex: string, message: object])[] = [
  [
    "Begin",
    "420000000001b8b9700003040865fef12d000002f3",
    { tag: "begin", commitLsn: 0x1b8b970n, commitTimeUs: 946_684_800_000_000n + 0x3040865fef12dn, xid: 755 },
  ],
  [
    "Commit",
    "43000000000001b8b9700000000001b8b9a00003040865fef12d",
    {
      tag: "commit",
      commitLsn: 0x1b8b970n,
      endLsn: 0x1b8b9a0n,
      commitTimeUs: 946_684_800_000_000n + 0x3040865fef12dn,
    },
  ],
  [
    "Relation",
    "52000040077075626c696300c39672646e6572006400040169640000000017ffffffff006e6f74650000000019ffffffff" +
      "006d0000004002ffffffff006269670000000019ffffffff",
    {
      tag: "relation",
      oid: 16391,
      schema: "public",
      name: "Ördner",
      identity: "d",
      columns: [
        { name: "id", isKey: true, typeOid: 23, typeModifier: -1 },
        { name: "note", isKey: false, typeOid: 25, typeModifier: -1 },
        { name: "m", isKey: false, typeOid: 16386, typeModifier: -1 },
        { name: "big", isKey: false, typeOid: 25, typeModifier: -1 },
      ],
    },
  ],
  ["Type", "59000040027075626c6963006d6f6f6400", { tag: "type", oid: 16386, schema: "public", name: "mood" }],
  [
    "Insert with an empty text",
    "490000400f4e00027400000001377400000000",
    { tag: "insert", relationOid: 16399, new: { values: ["7", ""], oversized: null } },
  ],
  [
    "Update without an old row, with NULL and an unchanged TOAST value",
    "55000040074e00047400000001316e74000000026f6b75",
    {
      tag: "update",
      relationOid: 16391,
      old: null,
      oldKind: null,
      new: { values: ["1", null, "ok", undefined], oversized: null },
    },
  ],
  [
    "Update with the old key",
    "55000040074b00047400000001316e6e6e4e00047400000001326e74000000026f6b75",
    {
      tag: "update",
      relationOid: 16391,
      oldKind: "K",
      old: { values: ["1", null, null, null], oversized: null },
      new: { values: ["2", null, "ok", undefined], oversized: null },
    },
  ],
  [
    "Update with the whole old row",
    "550000400f4f000274000000013774000000004e0002740000000137740000000162",
    {
      tag: "update",
      relationOid: 16399,
      oldKind: "O",
      old: { values: ["7", ""], oversized: null },
      new: { values: ["7", "b"], oversized: null },
    },
  ],
  [
    "Delete by key",
    "44000040074b00047400000001326e6e6e",
    { tag: "delete", relationOid: 16391, oldKind: "K", old: { values: ["2", null, null, null], oversized: null } },
  ],
  [
    "Delete of a whole row",
    "440000400f4f0002740000000137740000000162",
    { tag: "delete", relationOid: 16399, oldKind: "O", old: { values: ["7", "b"], oversized: null } },
  ],
  [
    "Truncate",
    "5400000002030000400f00004007",
    { tag: "truncate", relationOids: [16399, 16391], cascade: true, restartIdentity: true },
  ],
  [
    "logical Message",
    "4d010000000001b8d3507072650000000007636f6e74656e74",
    { tag: "message", isTransactional: true, lsn: 0x1b8d350n, prefix: "pre", contentBytes: 7 },
  ],
  [
    "logical Message to Walhook",
    "4d000000000001b8d35077616c686f6f6b00000000037b22c3",
    {
      tag: "message",
      isTransactional: false,
      lsn: 0x1b8d350n,
      prefix: "walhook",
      contentBytes: 3,
      content: '{"\uFFFD',
    },
  ],
  ["Origin", "4f00000000000010004e6f646500", { tag: "origin", lsn: 0x1000n, name: "Node" }],
];

function bytes(hex: string): Buffer {
  return Buffer.from(hex, "hex");
}

/** A message, or null where it was refused as it must be; any other exception passes. */
function parseOrRefuse(message: Buffer): object | null {
  try {
    return parsePgoutput(message);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

const goldenBytes = fc.constantFrom(...GOLDEN.map(([, hex]) => bytes(hex)));

describe("the pgoutput parser", () => {
  it.each(GOLDEN)("reads %s", (_name, hex, message) => {
    expect(parsePgoutput(bytes(hex))).toEqual(message);
  });

  it("reads transaction ids and OIDs as unsigned", () => {
    const begin = bytes("420000000001b8b9700003040865fef12db2d05e00");
    expect(parsePgoutput(begin)).toMatchObject({ xid: 3_000_000_000 });
    expect(parsePgoutput(bytes("49f000000f4e0000"))).toMatchObject({ relationOid: 0xf000_000f });
  });

  it("names the schema that is sent as nothing", () => {
    expect(parsePgoutput(bytes("5900000017006e7000"))).toMatchObject({ schema: "pg_catalog", name: "np" });
  });

  it("leaves the longest values of a row above the limit undecoded, no more than needed, and says which", () => {
    const insert = bytes("490000400f4e000374000000043132333474000000013174000000053536373839");
    const limited = (limit: number): unknown => (parsePgoutput(insert, limit) as { readonly new: unknown }).new;
    expect(limited(10)).toEqual({ values: ["1234", "1", "56789"], oversized: null });
    expect(limited(9)).toEqual({ values: ["1234", "1", undefined], oversized: [2] });
    expect(limited(5)).toEqual({ values: ["1234", "1", undefined], oversized: [2] });
    expect(limited(4)).toEqual({ values: [undefined, "1", undefined], oversized: [0, 2] });
    expect(limited(0)).toEqual({ values: [undefined, undefined, undefined], oversized: [0, 1, 2] });
  });

  it("never reads more of a row than the limit, and never less than would fit", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 20 }), fc.nat(200), (lengths, limit) => {
        const values = lengths.map((length) => [Buffer.from([0x74, 0, 0, 0, length]), Buffer.alloc(length, "v")]);
        const message = Buffer.concat([bytes("490000400f4e00"), Buffer.from([lengths.length]), ...values.flat()]);
        const read = parsePgoutput(message, limit) as { readonly new: Tuple };
        const sum = (of: readonly number[]): number => of.reduce((total, length) => total + length, 0);
        const kept = lengths.filter((_, index) => read.new.values[index] !== undefined);
        const left = (read.new.oversized ?? []).map((index) => lengths[index] ?? 0);
        expect(sum(kept)).toBeLessThanOrEqual(limit);
        expect(sum(kept) + sum(left)).toBe(sum(lengths));
        if (left.length > 0) expect(sum(kept) + Math.min(...left)).toBeGreaterThan(limit);
        for (const length of left) expect(length).toBeGreaterThanOrEqual(Math.max(0, ...kept));
      }),
    );
  });

  it("replaces bytes that are not UTF-8 instead of failing", () => {
    expect(parsePgoutput(bytes("490000400f4e00017400000002fffe"))).toMatchObject({ new: { values: ["��"] } });
  });

  it("refuses every message that is cut short anywhere", () => {
    for (const [, hex] of GOLDEN) {
      const whole = bytes(hex);
      for (let length = 0; length < whole.length; length++) {
        expect(() => parsePgoutput(whole.subarray(0, length))).toThrow(DecodeError);
      }
    }
  });

  it("refuses bytes behind a message", () => {
    for (const [, hex] of GOLDEN) expect(() => parsePgoutput(bytes(`${hex}00`))).toThrow(DecodeError);
  });

  it("refuses messages of protocols that were not asked for", () => {
    for (const tag of "SEcAbPKrpX") expect(() => parsePgoutput(Buffer.from(`${tag}123456789`))).toThrow(DecodeError);
  });

  it("gives a message or a DecodeError for any bytes whatever", () => {
    const tagged = fc
      .tuple(fc.constantFrom("B", "C", "O", "R", "Y", "I", "U", "D", "T", "M"), fc.uint8Array({ maxLength: 200 }))
      .map(([tag, rest]) => Buffer.concat([Buffer.from(tag), rest]));
    fc.assert(
      fc.property(fc.oneof(tagged, fc.uint8Array({ maxLength: 50 })), (message) => {
        parseOrRefuse(Buffer.from(message));
      }),
      { numRuns: 5000 },
    );
  });

  it("gives a message or a DecodeError where bytes of a real message are changed", () => {
    const changed = goldenBytes.chain((message) =>
      fc
        .array(fc.tuple(fc.nat(message.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
        .map((flips) => flips.reduce((copy, [at, byte]) => copy.fill(byte, at, at + 1), Buffer.from(message))),
    );
    fc.assert(
      fc.property(changed, (message) => {
        parseOrRefuse(message);
      }),
      { numRuns: 5000 },
    );
  });

  it("never looks at what lies behind the frame in the driver's buffer", () => {
    fc.assert(
      fc.property(goldenBytes, fc.nat(), fc.uint8Array({ minLength: 64, maxLength: 64 }), (message, cut, behind) => {
        const frame = message.subarray(0, cut % (message.length + 1));
        const within = Buffer.concat([frame, behind]).subarray(0, frame.length);
        expect(parseOrRefuse(within)).toEqual(parseOrRefuse(Buffer.from(frame)));
      }),
    );
  });

  it("refuses lengths that promise more than there is, without preparing for them", () => {
    expect(() => parsePgoutput(bytes("54ffffffff00"))).toThrow(DecodeError);
    expect(() => parsePgoutput(bytes("490000400f4effff"))).toThrow(DecodeError);
    expect(() => parsePgoutput(bytes("490000400f4e000174ffffffff00"))).toThrow(DecodeError);
    expect(() => parsePgoutput(bytes("520000400f610062006401ffffff"))).toThrow(DecodeError);
  });
});
