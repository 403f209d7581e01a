import type { Queryable } from "../db/queryable.ts";
import { type CatalogAnswer, type CatalogTable, askCatalog } from "./catalog-query.ts";
import { baseType, resolveJsonKind } from "./json-kind.ts";
import type { RelationMessage } from "./pgoutput-message.ts";
import type { Relation } from "./relation.ts";

/** Adds to a Relation message what only the catalog knows: the primary key and what the types are. */
export interface Catalog {
  /** Rejects with the database's error. */
  describeRelation(message: RelationMessage): Promise<Relation>;
}

interface Waiting {
  readonly message: RelationMessage;
  readonly resolve: (relation: Relation) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * A catalog that asks once a message, and keeps nothing: a new Relation message means that something may have
 * changed. What is asked while a question is under way is asked together after it.
 */
export function createCatalog(db: Queryable): Catalog {
  let waiting: Waiting[] = [];
  let isAsking = false;
  const ask = async (): Promise<void> => {
    isAsking = true;
    // Whatever is asked in the same burst goes into the same question.
    await Promise.resolve();
    while (waiting.length > 0) {
      const asked = waiting;
      waiting = [];
      try {
        const messages = asked.map(({ message }) => message);
        const answer = await askCatalog(db, messages);
        for (const { message, resolve } of asked) resolve(toRelation(message, answer));
      } catch (error) {
        for (const { reject } of asked) reject(error);
      }
    }
    isAsking = false;
  };
  return {
    describeRelation: (message) =>
      new Promise((resolve, reject) => {
        waiting.push({ message, resolve, reject });
        if (!isAsking) void ask();
      }),
  };
}

const INTEGER_TYPES: ReadonlySet<number> = new Set([20, 21, 23]);

/** A table as a Relation message and the catalog describe it together. */
export function toRelation(message: RelationMessage, { tables, types }: CatalogAnswer): Relation {
  const { oid, schema, name } = message;
  const table = tables.get(oid);
  const sent = new Set(message.columns.map((column) => column.name));
  const key = keyIndexes(message, table);
  const moveKey = table?.isPartitioned === true ? moveKeyIndexes(key, message, table) : [];
  return {
    oid,
    schema,
    table: name,
    doctype: schema === "public" ? name : `${schema}.${name}`,
    columns: message.columns.map((column) => ({
      name: column.name,
      typeOid: column.typeOid,
      json: resolveJsonKind(column.typeOid, types),
    })),
    keyIndexes: key,
    docstatusIndex: message.columns.findIndex(
      (column) => column.name === "docstatus" && INTEGER_TYPES.has(baseType(column.typeOid, types)),
    ),
    omitted: (table?.columns ?? [])
      .filter((column) => column.isGenerated && !sent.has(column.name))
      .map((column) => column.name),
    isPartitioned: table?.isPartitioned ?? false,
    ...(moveKey.length === 0 ? {} : { moveKeyIndexes: moveKey }),
  };
}

/**
 * The primary key's columns as indexes into the message's. The catalog can be ahead of the stream: where a key
 * column has been renamed meanwhile it is found by its place, and where the table is gone the message's own
 * flags serve, which mark the primary key under the default replica identity (under FULL they mark everything).
 */
function keyIndexes(message: RelationMessage, table: CatalogTable | undefined): readonly number[] {
  if (table !== undefined) {
    const byName = table.key.map((name) => message.columns.findIndex((column) => column.name === name));
    if (!byName.includes(-1)) return byName;
    const stored = table.columns.filter((column) => !column.isGenerated);
    if (stored.length === message.columns.length) {
      return table.key.map((name) => stored.findIndex((column) => column.name === name));
    }
  }
  if (message.identity !== "d") return [];
  return message.columns.flatMap((column, index) => (column.isKey ? [index] : []));
}

/**
 * The primary key of a partitioned table holds the columns it is partitioned by, so a row that moves always
 * changes its key; what is left of the key names it. Not so where what is left only refers to other tables: of
 * (device, time) by time, another time is another row.
 */
function moveKeyIndexes(key: readonly number[], message: RelationMessage, table: CatalogTable): readonly number[] {
  const nameOf = (index: number): string => message.columns[index]?.name ?? "";
  const rest = key.filter((index) => !table.partitionedBy.includes(nameOf(index)));
  return rest.every((index) => table.references.includes(nameOf(index))) ? [] : rest;
}
