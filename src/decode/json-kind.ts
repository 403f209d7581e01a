import type { CatalogType } from "./catalog-query.ts";
import type { JsonKind } from "./relation.ts";

const TEXT: JsonKind = { kind: "text" };

/** OIDs of built-in types never change: https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat */
const BUILT_IN: ReadonlyMap<number, JsonKind> = new Map<number, JsonKind>([
  [16, { kind: "boolean" }],
  [21, { kind: "number" }],
  [23, { kind: "number" }],
  [20, { kind: "number" }],
  [700, { kind: "number" }],
  [701, { kind: "number" }],
  [1700, { kind: "number" }],
  [114, { kind: "json" }],
  [3802, { kind: "json" }],
  [1082, { kind: "date" }],
  [1114, { kind: "timestamp" }],
  [1184, { kind: "timestamptz" }],
]);

/** Arrays of built-in types, for tables whose types the catalog no longer knows. */
const BUILT_IN_ARRAYS: ReadonlyMap<number, number> = new Map([
  [1000, 16],
  [1005, 21],
  [1007, 23],
  [1016, 20],
  [1021, 700],
  [1022, 701],
  [1231, 1700],
  [199, 114],
  [3807, 3802],
  [1182, 1082],
  [1115, 1114],
  [1185, 1184],
  [1009, 25],
  [1015, 1043],
  [2951, 2950],
]);

/**
 * What `to_jsonb` makes of a type, as `json_categorize_type` decides it: domains are looked through, arrays and
 * composites followed, everything else (enums, ranges, uuid, bytea, …) is its text. An extension's type with a
 * cast to json of its own, such as hstore, also stays text.
 * https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/jsonfuncs.c
 */
export function resolveJsonKind(typeOid: number, types: ReadonlyMap<number, CatalogType>): JsonKind {
  const builtIn = BUILT_IN.get(typeOid);
  if (builtIn !== undefined) return builtIn;
  const type = types.get(typeOid);
  if (type === undefined) {
    const element = BUILT_IN_ARRAYS.get(typeOid);
    return element === undefined ? TEXT : { kind: "array", element: BUILT_IN.get(element) ?? TEXT, delimiter: "," };
  }
  if (type.base !== null) return resolveJsonKind(type.base, types);
  if (type.element !== null) {
    return { kind: "array", element: resolveJsonKind(type.element, types), delimiter: type.delimiter };
  }
  if (type.attributes !== null) {
    const attributes = type.attributes.map(({ name, type: oid }) => ({ name, type: resolveJsonKind(oid, types) }));
    return { kind: "composite", attributes };
  }
  return TEXT;
}

/** A domain's base type, at any depth; any other type itself. */
export function baseType(typeOid: number, types: ReadonlyMap<number, CatalogType>): number {
  const base = types.get(typeOid)?.base ?? null;
  return base === null ? typeOid : baseType(base, types);
}
