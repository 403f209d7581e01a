import { describe, expect, it } from "vitest";
import { ofBoolean, ofError, ofText } from "../../src/match/verdict.ts";

describe("a verdict", () => {
  it("tells TRUE, FALSE and NULL apart", () => {
    expect([true, false, null].map((answer) => ofBoolean(answer).kind)).toEqual(["true", "false", "null"]);
  });

  it("reads the answers of the row-by-row form, line ends in a message included", () => {
    expect(ofText("t")).toEqual({ kind: "true" });
    expect(ofText("f")).toEqual({ kind: "false" });
    expect(ofText("n")).toEqual({ kind: "null" });
    expect(ofText("error: 22012 division\nby zero")).toEqual({
      kind: "error",
      message: "the condition raised an error: division\nby zero (22012)",
    });
  });

  it.each([
    ["22012", "error"],
    ["P0001", "error"],
    ["21000", "error"],
    ["25006", "error"],
    ["54001", "error"],
    ["57P01", "error"],
    ["08006", "error"],
    ["57000", "undecided"],
    ["42703", "undecided"],
    ["42501", "undecided"],
    ["3F000", "undecided"],
    ["0A000", "undecided"],
    ["40P01", "undecided"],
    ["53200", "undecided"],
    ["55P03", "undecided"],
    ["XX000", "undecided"],
  ])("of SQLSTATE %s is %s: only what the row itself is to blame for is final", (sqlState, kind) => {
    expect(ofError(sqlState, "x").kind).toBe(kind);
  });

  it("quotes no more of a message than a log row takes", () => {
    const verdict = ofError("P0001", "x".repeat(1_000_000));
    expect("message" in verdict && verdict.message).toMatch(/^the condition raised an error: x{2000} … \(P0001\)$/);
  });
});
