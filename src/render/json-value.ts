import type { JsonKind } from "../decode/relation.ts";
import { type ArrayLiteral, parseArrayLiteral } from "./array-literal.ts";
import { parseCompositeLiteral } from "./composite-literal.ts";
import { jsonString } from "./json-string.ts";

/**
 * A value's Postgres text as the JSON that `to_jsonb` makes of it (equal under jsonb's `=`), without going
 * through a JavaScript number or date, so every digit stays; json values keep their own text.
 *
 * The text is as written under TimeZone UTC, DateStyle ISO, IntervalStyle postgres, extra_float_digits 1,
 * bytea_output hex. Throws a `SyntaxError` where the text is not one of its kind.
 * Rules: json_categorize_type, datum_to_jsonb and JsonEncodeDateTime in PostgreSQL's src/backend/utils/adt.
 */
export function jsonValue(text: string | null, type: JsonKind): string {
  if (text === null) return "null";
  switch (type.kind) {
    case "text":
    case "date":
      return jsonString(text);
    case "number":
      return jsonNumber(text);
    case "boolean":
      return text === "t" ? "true" : "false";
    case "json":
      return text;
    case "timestamp":
    case "timestamptz":
      return jsonTimestamp(text, type.kind === "timestamptz");
    case "array":
      return jsonArray(parseArrayLiteral(text, type.delimiter), type.element);
    case "composite":
      return jsonComposite(text, type.attributes);
  }
}

/** Digits as they are; NaN, Infinity and -Infinity are no JSON numbers and become strings. */
function jsonNumber(text: string): string {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0x30 && last <= 0x39 ? text : jsonString(text);
}

/** `2026-01-31 23:59:59.5+00 BC` becomes `2026-01-31T23:59:59.5+00:00 BC`; infinity stays as it is. */
function jsonTimestamp(text: string, hasZone: boolean): string {
  const space = text.indexOf(" ");
  if (space < 0) return `"${text}"`;
  const isBc = text.endsWith(" BC");
  const end = isBc ? text.length - 3 : text.length;
  // A zone of whole hours is written without its minutes: its sign is then the third character from the end.
  const sign = text.charCodeAt(end - 3);
  const isShortZone = hasZone && (sign === 0x2b || sign === 0x2d);
  return `"${text.slice(0, space)}T${text.slice(space + 1, end)}${isShortZone ? ":00" : ""}${isBc ? " BC" : ""}"`;
}

function jsonArray(array: ArrayLiteral, element: JsonKind): string {
  let json = "[";
  for (let index = 0; index < array.length; index++) {
    const item = array[index] as string | null | ArrayLiteral;
    if (index > 0) json += ",";
    json += typeof item === "string" || item === null ? jsonValue(item, element) : jsonArray(item, element);
  }
  return `${json}]`;
}

function jsonComposite(
  text: string,
  attributes: readonly { readonly name: string; readonly type: JsonKind }[],
): string {
  if (attributes.length === 0) return "{}";
  const values = parseCompositeLiteral(text);
  if (values.length !== attributes.length) {
    throw new SyntaxError(`a composite value of ${values.length} attributes where its type has ${attributes.length}`);
  }
  let json = "{";
  for (let index = 0; index < attributes.length; index++) {
    const { name, type } = attributes[index] as { readonly name: string; readonly type: JsonKind };
    if (index > 0) json += ",";
    json += `${jsonString(name)}:${jsonValue(values[index] as string | null, type)}`;
  }
  return `${json}}`;
}
