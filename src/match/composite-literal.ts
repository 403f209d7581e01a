/**
 * Values as a composite literal, `("a","b",)`: every value quoted, NULL left out, as `record_in` reads it.
 * https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-IO-SYNTAX
 */
export function compositeLiteral(values: readonly (string | null)[]): string {
  let literal = "(";
  for (let i = 0; i < values.length; i++) {
    if (i > 0) literal += ",";
    const value = values[i];
    if (value === null || value === undefined) continue;
    literal += SPECIAL.test(value) ? `"${value.replaceAll(/["\\]/g, "\\$&")}"` : `"${value}"`;
  }
  return `${literal})`;
}

const SPECIAL = /["\\]/;
