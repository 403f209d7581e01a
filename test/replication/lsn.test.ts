import { describe, expect, it } from "vitest";
import { formatLsn, parseLsn } from "../../src/replication/lsn.ts";

describe("an LSN", () => {
  it("reads and writes Postgres' text form", () => {
    expect(parseLsn("16/B374D848")).toBe(0x16b374d848n);
    expect(formatLsn(0x16b374d848n)).toBe("16/B374D848");
  });
  it("reads padded and unpadded forms as the same number", () => {
    expect(parseLsn("00000000/01773E78")).toBe(parseLsn("0/1773E78"));
  });
  it("keeps all 64 bits", () => {
    expect(formatLsn(parseLsn("FFFFFFFF/FFFFFFFF"))).toBe("FFFFFFFF/FFFFFFFF");
  });
  it("refuses anything else", () => {
    expect(() => parseLsn("1773E78")).toThrow(SyntaxError);
  });
});
