/**
 * How a column's text becomes JSON: what `to_jsonb` would make of the type, resolved once per Relation
 * message from the catalog (domains unwrapped, array elements and composite attributes followed).
 */
export type JsonKind =
  | { readonly kind: "boolean" }
  | { readonly kind: "number" }
  | { readonly kind: "text" }
  | { readonly kind: "json" }
  | { readonly kind: "date" }
  | { readonly kind: "timestamp" }
  | { readonly kind: "timestamptz" }
  | { readonly kind: "array"; readonly element: JsonKind; readonly delimiter: string }
  | { readonly kind: "composite"; readonly attributes: readonly { readonly name: string; readonly type: JsonKind }[] };

export interface Column {
  readonly name: string;
  readonly typeOid: number;
  readonly json: JsonKind;
}

/**
 * A table as it stood when the changes that follow it in the stream were written: columns from the
 * Relation message, key and types from the catalog at the time the message arrived.
 */
export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  /** What users call it: the table's name, with its schema before it where that is not `public`. Unquoted. */
  readonly doctype: string;
  readonly columns: readonly Column[];
  /** Indexes into `columns` of the primary key's columns, in the key's order; empty where there is no key. */
  readonly keyIndexes: readonly number[];
  /** Index of an integer column named `docstatus`, or -1: the table is not submittable. */
  readonly docstatusIndex: number;
  /** Generated columns that the stream does not carry. */
  readonly omitted: readonly string[];
  readonly isPartitioned: boolean;
  /**
   * Of a partitioned table: indexes of the key columns that name a row wherever it is, by which a row that moves
   * between partitions is recognised. Absent where there are none.
   */
  readonly moveKeyIndexes?: readonly number[];
}
