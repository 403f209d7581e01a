import { jsonString } from "./json-string.ts";
import { JsonText } from "./json-text.ts";
import { isJsonArray, JsonNumber, type JsonTree, stringifyJsonTree } from "./json-tree.ts";
import type { Rendering } from "./rendering.ts";
import { RowView } from "./row-view.ts";
import { type UnknownValueError, unknownOldValue } from "./unknown-value.ts";

/** `old` where there was a row before but nothing of it is known: false in a section, an error when asked for a value. */
export class UnknownRow {
  readonly doctype: string;

  constructor(doctype: string) {
    this.doctype = doctype;
  }

  error(column?: string): UnknownValueError {
    return unknownOldValue(this.doctype, column);
  }
}

/**
 * What a name in a template can stand for. `undefined`: there is nothing of that name. A column's value
 * stays JSON text, with all its digits, until somebody looks into it.
 */
export type TemplateValue = JsonTree | JsonText | RowView | UnknownRow | ReadonlyMap<string, TemplateValue> | undefined;

/** No list has more items than this has digits. */
const MAX_INDEX_DIGITS = 10;

/** Looks a name up in a value, as the next step of a dotted name; undefined where it has none such. */
export function member(value: TemplateValue, name: string, rendering: Rendering): TemplateValue {
  if (value instanceof RowView) return rendering.column(value, name);
  if (value instanceof UnknownRow) throw value.error(name);
  const tree = value instanceof JsonText ? value.tree : value;
  if (tree instanceof Map) return (tree as ReadonlyMap<string, TemplateValue>).get(name);
  if (isJsonArray(tree)) {
    if (name === "length") return new JsonNumber(String(tree.length));
    return name.length <= MAX_INDEX_DIGITS && /^\d+$/.test(name) ? tree[Number(name)] : undefined;
  }
  return undefined;
}

/** Whether a name is there at all in a context: null is there, undefined is not. */
export function hasMember(value: TemplateValue, name: string): boolean {
  if (value instanceof RowView) return value.has(name);
  if (value instanceof UnknownRow) return false;
  const tree = value instanceof JsonText ? value.tree : value;
  return tree instanceof Map && tree.has(name);
}

/** What `{{name}}` prints: nothing for null and unknown names, digits as they are, JSON for arrays and objects. */
export function printed(value: TemplateValue): string {
  if (value instanceof UnknownRow) throw value.error();
  const plain = value instanceof JsonText && value.text.startsWith('"') ? value.tree : value;
  if (typeof plain === "string") return plain;
  if (plain === null || plain === undefined || (plain instanceof JsonText && plain.text === "null")) return "";
  return jsonOf(plain);
}

/** What `{{#json}}name{{/json}}` prints; null for a name that is not there. */
export function jsonOf(value: TemplateValue): string {
  if (value === undefined) return "null";
  if (value instanceof JsonText) return value.text;
  if (value instanceof RowView) return value.rowJson();
  if (value instanceof UnknownRow) throw value.error();
  if (!(value instanceof Map)) return stringifyJsonTree(value as JsonTree);
  const members = [...(value as ReadonlyMap<string, TemplateValue>)];
  return `{${members.map(([name, item]) => `${jsonString(name)}:${jsonOf(item)}`).join(",")}}`;
}

/** The items of a list, or null for anything else. */
export function listItems(value: TemplateValue): readonly TemplateValue[] | null {
  const plain = value instanceof JsonText ? value.tree : value;
  return isJsonArray(plain) ? plain : null;
}

/** What a section takes for false: as mustache.js does null, false, zero, the empty text and the empty list. */
export function isFalse(value: TemplateValue): boolean {
  const plain = value instanceof JsonText ? value.tree : value;
  if (plain === undefined || plain === null || plain === false || plain === "" || plain instanceof UnknownRow)
    return true;
  if (isJsonArray(plain)) return plain.length === 0;
  return plain instanceof JsonNumber && plain.isZero;
}
