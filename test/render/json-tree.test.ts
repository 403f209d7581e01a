import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type JsonTree, parseJsonTree, stringifyJsonTree } from "../../src/render/json-tree.ts";

/** The message of the SyntaxError that reading the text throws, or null where it throws none. */
function problemOf(read: (text: string) => unknown, text: string): string | null {
  try {
    read(text);
    return null;
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
}

describe("JSON read without loss", () => {
  it("is written again with every digit, key and their order", () => {
    const text = '{"b":1.10,"2":12345678901234567890,"1":-0.0,"__proto__":{"toString":[1e400,true,null,"é\\n"]}}';
    expect(stringifyJsonTree(parseJsonTree(text))).toBe(text);
  });
  it("means what JSON.parse reads, for any JSON", () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(undefined, 1, "\t"), (json, indent) => {
        const value: unknown = JSON.parse(json);
        expect(JSON.parse(stringifyJsonTree(parseJsonTree(JSON.stringify(value, null, indent))))).toEqual(value);
      }),
    );
  });
  it("accepts exactly what JSON.parse accepts", () => {
    const pieces = fc.constantFrom(...'{}[],:"\\ 0123.eE+-truefalsn\n\t\u0001ué'.split(""), "null", '"a"', "\\u00e9");
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join("");
        return (problemOf(parseJsonTree, text) === null) === (problemOf(JSON.parse, text) === null);
      }),
      { numRuns: 3000 },
    );
  });
  it("takes the last of equal keys, as jsonb does", () => {
    expect(stringifyJsonTree(parseJsonTree('{"a":1,"a":2}'))).toBe('{"a":2}');
  });
  it("reads a string of megabytes", () => {
    const long = `"${"x\\n".repeat(1_000_000)}"`;
    expect((parseJsonTree(long) as Extract<JsonTree, string>).length).toBe(2_000_000);
  });
  it("says by line and column what is wrong, and no more of the text than one character", () => {
    expect(problemOf(parseJsonTree, '{\n  "secret": 1,\n}')).toBe('unexpected "}" at line 3, column 1');
    expect(problemOf(parseJsonTree, "[1, 2")).toBe("it ends too early, at line 1, column 6");
    expect(problemOf(parseJsonTree, '["a\nb"]')).toBe('unexpected "\\"" at line 1, column 2');
    expect(problemOf(parseJsonTree, "NaN")).toBe('unexpected "N" at line 1, column 1');
  });
});
