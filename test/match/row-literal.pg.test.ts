import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { rowLiteral } from "../../src/match/row-literal.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase("literal");
});
afterAll(() => db.drop());

const text = fc.oneof(
  // Postgres text is any Unicode text without U+0000 and lone surrogates.
  fc.string({ unit: "binary" }).filter((value) => !value.includes("\0")),
  fc.constantFrom("", "NULL", "null", '"', "\\", '\\"', "{", "}", "{}", ",", " ", " a ", "\t\n", "'", "$1", "é😀"),
);

describe("a row literal", () => {
  it("gives Postgres each value exactly, and NULL as NULL", async () => {
    const client = await db.connect();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(text), { maxLength: 8 }), async (values) => {
        const { rows } = await client.query<{ back: unknown }>("select to_jsonb($1::text::text[]) as back", [
          rowLiteral(values),
        ]);
        expect(rows[0]!.back).toEqual(values);
      }),
      { numRuns: 300 },
    );
  });

  it("survives being an element of an array of rows", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.option(text), { minLength: 1, maxLength: 4 }), async (values) => {
        const { rows } = await db.query("select to_jsonb(($1::text[])[2]::text[]) as back", [
          [null, rowLiteral(values)],
        ]);
        expect((rows[0] as { back: unknown }).back).toEqual(values);
      }),
      { numRuns: 100 },
    );
  });
});
