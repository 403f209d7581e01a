/**
 * A row's values as an array literal, `{"a","b",NULL}`, as `array_in` reads it: what the condition functions take
 * for a row. https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function compositeLiteral(values: readonly (string | null)[]): string {
  let literal = "{";
  for (let i = 0; i < values.length; i++) {
    if (i > 0) literal += ",";
    const value = values[i];
    if (value === null || value === undefined) literal += "NULL";
    else literal += SPECIAL.test(value) ? `"${value.replaceAll(/["\\]/g, "\\$&")}"` : `"${value}"`;
  }
  return `${literal}}`;
}

const SPECIAL = /["\\]/;
