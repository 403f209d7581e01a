import type { Relation } from "../decode/relation.ts";
import type { Row } from "../decode/row-change.ts";
import { docJson } from "./doc-json.ts";
import { jsonValue } from "./json-value.ts";
import { omittedValue, type UnknownValueError } from "./unknown-value.ts";

const columnIndexes = new WeakMap<Relation, ReadonlyMap<string, number>>();

export type MissingValue = (doctype: string, column: string) => UnknownValueError;

/** A row as bodies, URLs and headers see it: by column name, each value as JSON text. */
export class RowView {
  readonly #relation: Relation;
  readonly #row: Row;
  readonly #missing: MissingValue;

  /** `missing` makes the error for a column whose value in this row is unknown. */
  constructor(relation: Relation, row: Row, missing: MissingValue) {
    this.#relation = relation;
    this.#row = row;
    this.#missing = missing;
  }

  /** Whether the table has this column; throws an `UnknownValueError` where it does but the stream never carries it. */
  has(column: string): boolean {
    if (indexesOf(this.#relation).has(column)) return true;
    if (this.#relation.omitted.includes(column)) throw omittedValue(this.#relation.doctype, column);
    return false;
  }

  /** A column's value as JSON text, or undefined where there is no such column. Throws an `UnknownValueError`. */
  json(column: string): string | undefined {
    if (!this.has(column)) return undefined;
    const index = indexesOf(this.#relation).get(column) as number;
    const text = this.#row[index];
    if (text === undefined) throw this.#missing(this.#relation.doctype, column);
    return jsonValue(text, (this.#relation.columns[index] as Relation["columns"][number]).json);
  }

  /** The whole row, columns of unknown value left out. */
  rowJson(): string {
    return docJson(this.#relation, this.#row);
  }
}

function indexesOf(relation: Relation): ReadonlyMap<string, number> {
  let indexes = columnIndexes.get(relation);
  if (indexes === undefined) {
    indexes = new Map(relation.columns.map(({ name }, index) => [name, index]));
    columnIndexes.set(relation, indexes);
  }
  return indexes;
}
