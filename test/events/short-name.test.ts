import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { shortName } from "../../src/events/short-name.ts";

const bytesOf = (text: string): number => Buffer.byteLength(text, "utf8");
const digest = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex");
const characters = (min: number, max: number) =>
  fc.string({ unit: fc.constantFrom("a", "é", "€", "😀", "\n", "0"), minLength: min, maxLength: max });

describe("the short name of a document", () => {
  it.each(["", "42", '["a","7"]', "a".repeat(1800), "é".repeat(900), "€".repeat(600), "😀".repeat(450)])(
    "is its name up to 1,800 bytes",
    (name) => {
      expect(shortName(name)).toBe(name);
    },
  );

  it.each([
    ["a", 1801, 1800],
    ["é", 901, 900],
    ["€", 601, 600],
    ["😀", 451, 450],
    ["😀", 10_000, 450],
  ])("ends with the digest of the whole where there are more: %s", (character, length, kept) => {
    const name = character.repeat(length);
    expect(shortName(name)).toBe(`${character.repeat(kept)}...sha256:${digest(name)}`);
  });

  it("cuts no character", () => {
    expect(shortName(`${"a".repeat(1797)}😀`)).toBe(`${"a".repeat(1797)}...sha256:${digest(`${"a".repeat(1797)}😀`)}`);
    expect(shortName(`aa${"€".repeat(600)}`)).toContain(`aa${"€".repeat(599)}...sha256:`);
  });

  it("is bounded, is longer than any that is not shortened, and tells names apart", () => {
    fc.assert(
      fc.property(characters(400, 2000), characters(1, 3), (name, more) => {
        const short = shortName(name);
        if (bytesOf(name) <= 1800) expect(short).toBe(name);
        else expect(bytesOf(short)).toSatisfy((n: number) => n >= 1871 && n <= 1874);
        expect(Buffer.from(short).toString()).toBe(short);
        expect(shortName(name + more)).not.toBe(short);
      }),
    );
  });

  it("of a key that looks like one is another, so that no row stands in another's lane", () => {
    const short = shortName("a".repeat(2000));
    expect(shortName(short)).not.toBe(short);
  });
});
