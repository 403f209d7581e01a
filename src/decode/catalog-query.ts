import type { Queryable } from "../db/queryable.ts";
import type { RelationMessage } from "./pgoutput-message.ts";

/** A column as the catalog has it now. */
export interface CatalogColumn {
  readonly name: string;
  readonly isGenerated: boolean;
}

/** A table as the catalog has it now, which can be later than what the stream speaks of. */
export interface CatalogTable {
  readonly isPartitioned: boolean;
  /** Names of the primary key's columns, in the key's order. */
  readonly key: readonly string[];
  /** Names of the columns by which it or one of its partitions is partitioned. */
  readonly partitionedBy: readonly string[];
  /** Names of the columns that refer to other tables. */
  readonly references: readonly string[];
  readonly columns: readonly CatalogColumn[];
}

/** A type, with what is needed to follow it: what a domain, an array or a composite type is made of. */
export interface CatalogType {
  /** The type a domain is over. */
  readonly base: number | null;
  /** The element type of an array, and what separates elements in its text. */
  readonly element: number | null;
  readonly delimiter: string;
  readonly attributes: readonly { readonly name: string; readonly type: number }[] | null;
}

export interface CatalogAnswer {
  readonly tables: ReadonlyMap<number, CatalogTable>;
  readonly types: ReadonlyMap<number, CatalogType>;
}

/**
 * One statement for all tables and types asked for. Reads catalog tables alone, so that it waits for no lock on
 * the tables themselves. `array_subscript_handler` is what makes a type a true array for Postgres' own
 * `get_element_type`, and so for `to_jsonb`: int2vector and oidvector have it too, in a text form of their own.
 */
const QUERY = `
with recursive
  tree (root, oid) as (
    select c.oid, c.oid from pg_catalog.pg_class c where c.oid = any ($1::pg_catalog.oid[]) and c.relkind = 'p'
    union
    select tree.root, i.inhrelid
    from tree
    join pg_catalog.pg_inherits i on i.inhparent = tree.oid
    join pg_catalog.pg_class c on c.oid = i.inhrelid and c.relkind = 'p'
  ),
  needed (oid) as (
    select t.oid from pg_catalog.pg_type t where t.oid = any ($2::pg_catalog.oid[])
    union
    select part.oid
    from needed
    join pg_catalog.pg_type t on t.oid = needed.oid
    cross join lateral (
      select t.typbasetype where t.typtype = 'd'
      union all
      select t.typelem where t.typelem <> 0
        and t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
      union all
      select a.atttypid from pg_catalog.pg_attribute a
      where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) as part (oid)
  )
select
  'table' as kind,
  c.oid::pg_catalog.int8 as oid,
  pg_catalog.jsonb_build_object(
    'isPartitioned', c.relkind = 'p',
    'key', coalesce((
      select pg_catalog.jsonb_agg(a.attname order by k.place)
      from pg_catalog.pg_index i
      cross join lateral unnest(i.indkey::pg_catalog.int2[]) with ordinality as k (attnum, place)
      join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
    ), '[]'),
    'partitionedBy', coalesce((
      select pg_catalog.jsonb_agg(distinct a.attname)
      from tree
      join pg_catalog.pg_partitioned_table p on p.partrelid = tree.oid
      join pg_catalog.pg_attribute a on a.attrelid = tree.oid and a.attnum = any (p.partattrs::pg_catalog.int2[])
      where tree.root = c.oid and a.attnum > 0
    ), '[]'),
    'references', coalesce((
      select pg_catalog.jsonb_agg(distinct a.attname)
      from pg_catalog.pg_constraint f
      join pg_catalog.pg_attribute a on a.attrelid = f.conrelid and a.attnum = any (f.conkey)
      where f.conrelid = c.oid and f.contype = 'f'
    ), '[]'),
    'columns', coalesce((
      select pg_catalog.jsonb_agg(
        pg_catalog.jsonb_build_object('name', a.attname, 'isGenerated', a.attgenerated <> '') order by a.attnum)
      from pg_catalog.pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ), '[]')
  ) as description
from pg_catalog.pg_class c
where c.oid = any ($1::pg_catalog.oid[])
union all
select
  'type',
  t.oid::pg_catalog.int8,
  pg_catalog.jsonb_build_object(
    'base', case when t.typtype = 'd' then t.typbasetype::pg_catalog.int8 end,
    'element', element.oid::pg_catalog.int8,
    'delimiter', coalesce(element.typdelim, ','),
    'attributes', case when t.typtype = 'c' then (
      select pg_catalog.jsonb_agg(
        pg_catalog.jsonb_build_object('name', a.attname, 'type', a.atttypid::pg_catalog.int8) order by a.attnum)
      from pg_catalog.pg_attribute a
      where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) end
  )
from needed
join pg_catalog.pg_type t on t.oid = needed.oid
left join pg_catalog.pg_type element on element.oid = t.typelem
  and t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc`;

/** Asks the catalog about tables and the types of their columns. Errors are the database's. */
export async function askCatalog(db: Queryable, messages: readonly RelationMessage[]): Promise<CatalogAnswer> {
  const tableOids = messages.map((message) => message.oid);
  const typeOids = new Set(messages.flatMap((message) => message.columns.map((column) => column.typeOid)));
  const { rows } = await db.query(QUERY, [tableOids, [...typeOids]]);
  const tables = new Map<number, CatalogTable>();
  const types = new Map<number, CatalogType>();
  for (const row of rows as { kind: string; oid: string; description: CatalogTable & CatalogType }[]) {
    if (row.kind === "table") tables.set(Number(row.oid), row.description);
    else types.set(Number(row.oid), row.description);
  }
  return { tables, types };
}
