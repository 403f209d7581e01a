import { describe, expect, it } from "vitest";
import { whoseFailure } from "../../src/db/whose-failure.ts";

const error = (code?: string): Error => Object.assign(new Error("why"), { code });

describe("a step that failed", () => {
  it("is the session's where the connection or the server is gone", () => {
    for (const code of [undefined, "ECONNRESET", "EPIPE", "57P01", "08006", "25006"])
      expect(whoseFailure(error(code))).toBe("session");
  });

  it("is the moment's where somebody has a lock, or the server no room", () => {
    for (const code of ["55P03", "40001", "40P01", "53300"]) expect(whoseFailure(error(code))).toBe("moment");
  });

  it("is the work's own where it would be met again: data, rights, what is gone, and what our own reading cannot take", () => {
    for (const code of ["22P02", "42501", "42P01", "57014"]) expect(whoseFailure(error(code))).toBe("work");
    expect(whoseFailure(new RangeError("out of range"))).toBe("work");
  });
});
