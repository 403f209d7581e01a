import type pg from "pg";

/** A value of a column as JSON has it: intervals, tables and other types are texts. */
export type Value = string | number | boolean | null | readonly Value[];

/** A webhook with its header and data rows, as a file describes it. */
export interface StoredWebhook {
  readonly name: string;
  /** Columns of walhook.webhook that people choose, by name; `name` and the secret are apart. */
  readonly columns: Readonly<Record<string, Value>>;
  /** In their order. */
  readonly headers: readonly Pair[];
  readonly data: readonly Pair[];
  /** What it signs with, newest first: where the bridge finds a secret, or null for one whose text the database has. */
  readonly secrets: readonly (string | null)[];
}

/** A header's name and value, or a key of the body and its column. */
export type Pair = readonly [key: string, value: string];

/** Columns that the triggers fill, or that say nothing of what a webhook does. */
const FILLED = new Set([
  "id",
  "name",
  "webhook_secret",
  "doctype_oid",
  "doctype",
  "author",
  "revision",
  "condition_function",
  "condition_columns",
  "condition_uses_old",
  "condition_is_immutable",
  "condition_tells_null",
  "created_at",
  "modified_at",
]);

/** The columns that a file may name, in the table's order, each with its default. */
export async function chosenColumns(client: pg.ClientBase): Promise<ReadonlyMap<string, Value>> {
  const { rows } = await client.query<{ name: string; expression: string }>(`
    select a.attname as name, coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), 'null') as expression
      from pg_catalog.pg_attribute a
      left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = 'walhook.webhook'::pg_catalog.regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`);
  const chosen = rows.filter(({ name }) => !FILLED.has(name) && !name.endsWith("_ms"));
  const defaults = await client.query<{ row: Record<string, Value> }>(
    `select pg_catalog.jsonb_build_object(${chosen.map(({ name, expression }) => `'${name}', ${expression}`).join(", ")}) as row`,
  );
  return new Map(chosen.map(({ name }) => [name, defaults.rows[0]!.row[name] ?? null]));
}

/** Every webhook, by name. Tables are named as the connection's search_path has them. */
export async function storedWebhooks(
  client: pg.ClientBase,
  columns: Iterable<string>,
): Promise<readonly StoredWebhook[]> {
  const { rows } = await client.query<{
    name: string;
    row: Record<string, Value>;
    headers: Pair[];
    data: Pair[];
    secrets: (string | null)[];
  }>(`
    select w.name, pg_catalog.to_jsonb(w) as row,
           array(select array[h.key, h.value] from walhook.webhook_header h where h.webhook_id = w.id order by h.id) as headers,
           array(select array[d.key, d.fieldname] from walhook.webhook_data d where d.webhook_id = w.id order by d.id) as data,
           array(select k.reference from walhook.signing_key k where k.webhook = w.name order by k.id desc) as secrets
      from walhook.webhook w order by w.name collate "C"`);
  const names = [...columns];
  return rows.map(({ name, row, headers, data, secrets }) => ({
    name,
    columns: Object.fromEntries(names.map((column) => [column, row[column] ?? null])),
    headers,
    data,
    secrets,
  }));
}

/** Whether two values are the same. */
export function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
