/**
 * A row as the condition functions take it: its values' texts as a Postgres array literal, `{"1","Paid",NULL}`.
 * `array_in` gives each text back exactly. https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function rowLiteral(values: readonly (string | null)[]): string {
  let literal = "{";
  for (let i = 0; i < values.length; i++) {
    if (i > 0) literal += ",";
    const value = values[i];
    // Quoted always: unquoted, an empty text, NULL as a text, blanks at the ends would all change.
    if (value === null || value === undefined) literal += "NULL";
    else literal += SPECIAL.test(value) ? `"${value.replaceAll(/["\\]/g, "\\$&")}"` : `"${value}"`;
  }
  return `${literal}}`;
}

const SPECIAL = /["\\]/;
