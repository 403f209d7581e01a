import type { JsonKind, Relation } from "../decode/relation.ts";
import type { Row } from "../decode/row-change.ts";
import { jsonString } from "./json-string.ts";
import { jsonValue } from "./json-value.ts";

/**
 * Several webhooks and events render the same rows, one after the other: those of the last change, new and old,
 * are kept. A WeakMap over all rows costs the garbage collector more than it saves.
 */
let last: Rendered = { row: [], json: "{}" };
let lastButOne: Rendered = last;

interface Rendered {
  readonly row: Row;
  readonly json: string;
}

const fields = new WeakMap<Relation, readonly Field[]>();

interface Field {
  /** `"name":` */
  readonly key: string;
  readonly type: JsonKind;
}

/**
 * A row as a JSON object, columns in table order. What the WAL does not carry is left out.
 */
export function docJson(relation: Relation, row: Row): string {
  if (row === last.row) return last.json;
  if (row === lastButOne.row) return lastButOne.json;
  lastButOne = last;
  last = { row, json: render(fieldsOf(relation), row) };
  return last.json;
}

function render(columns: readonly Field[], row: Row): string {
  let json = "";
  for (let index = 0; index < columns.length; index++) {
    const text = row[index];
    if (text === undefined) continue;
    const { key, type } = columns[index] as Field;
    json += (json === "" ? "{" : ",") + key + jsonValue(text, type);
  }
  return json === "" ? "{}" : `${json}}`;
}

function fieldsOf(relation: Relation): readonly Field[] {
  let known = fields.get(relation);
  if (known === undefined) {
    known = relation.columns.map(({ name, json }) => ({ key: `${jsonString(name)}:`, type: json }));
    fields.set(relation, known);
  }
  return known;
}
