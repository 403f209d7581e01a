/** How the workload writes to a table. Every table has `seq`, the number of its row's last change, and `value`. */
export interface WatchedTable {
  readonly name: string;
  /** Key columns; none: rows are only inserted. */
  readonly key: readonly string[];
  /** Columns that an INSERT fills, and how, from a number `$n` that is different for each row. */
  readonly fill: Readonly<Record<string, string>>;
  /** What an UPDATE sets beside `seq`. */
  readonly set: string;
  /** What gives a row another key, or moves it to another partition. */
  readonly rekey: string | null;
  /** The doc events of an INSERT of row `n`, as SQL; default `after_insert` and `on_change`. */
  readonly insertEvents?: string;
  /** The doc events of an UPDATE of `c` to `t`, as SQL; default `on_update` and `on_change`. */
  readonly updateEvents?: string;
}

const VALUE = { value: "hashint8($n) & 1023" };

export const TABLES: readonly WatchedTable[] = [
  {
    name: "simple",
    key: ["id"],
    fill: { ...VALUE, note: "'row ' || $n" },
    set: "value = (t.value + 7) & 1023",
    rekey: "id = nextval('key_seq')",
  },
  {
    name: "composite",
    key: ["region", "no"],
    fill: { ...VALUE, region: "case when $n % 2 = 0 then 'north' else 'süd, \"west\"' end" },
    set: "value = (t.value + 7) & 1023",
    rekey: "region = t.region || '+'",
  },
  {
    name: "toasted",
    key: ["id"],
    fill: { ...VALUE, body: "repeat(md5($n::text), 150)" },
    set: "value = (t.value + 7) & 1023",
    rekey: "id = nextval('key_seq')",
  },
  {
    name: "parted",
    key: ["id", "part"],
    fill: { ...VALUE, part: "(array['a', 'b', 'x'])[1 + $n % 3]" },
    set: "value = (t.value + 7) & 1023",
    rekey: "part = case t.part when 'a' then 'b' when 'b' then 'x' else 'a' end",
  },
  { name: "keyless", key: [], fill: VALUE, set: "", rekey: null },
  {
    name: "typed",
    key: ["id"],
    fill: {
      ...VALUE,
      feeling: "(array['calm', 'busy', 'öde', null])[1 + $n % 4]::mood",
      price: "($n % 100000) / 8.0",
      wide: "case when $n % 7 = 0 then 'NaN' else $n * 123456789012345678901234567890.123456789 end",
      data: `jsonb_build_object('n', $n, 'list', jsonb_build_array(null, true, '"\\ ' || chr(8232)))`,
      tags: "array['a,b', '\"q\"', null, 'n' || $n]",
      raw: "decode(md5($n::text), 'hex')",
      at: "timestamptz 'epoch' + $n * interval '1 day 0.000001 s'",
      span: "$n * interval '1 min'",
    },
    set: "value = (t.value + 7) & 1023, wide = t.wide + 0.1, data = t.data || '{\"more\": 1e2}'",
    rekey: "id = gen_random_uuid()",
  },
  {
    name: "paper",
    key: ["id"],
    fill: { ...VALUE, docstatus: "$n % 2" },
    set: "value = (t.value + 7) & 1023, docstatus = least(2, t.docstatus + (t.seq % 2))",
    rekey: null,
    insertEvents:
      "case n.docstatus when 1 then '{after_insert,on_submit,on_change}' else '{after_insert,on_change}' end",
    updateEvents: `case when c.docstatus = 0 and t.docstatus = 1 then '{on_update,on_submit,on_change}'
      when c.docstatus = 1 and t.docstatus = 1 then '{on_update_after_submit,on_change}'
      when c.docstatus = 1 and t.docstatus = 2 then '{on_cancel,on_change}'
      else '{on_update,on_change}' end`,
  },
];

/** A table that is made while the test runs, with a webhook of its own. */
export function laterTable(number: number): WatchedTable & { readonly ddl: string } {
  const name = `later_${number}`;
  return {
    name,
    key: ["id"],
    fill: VALUE,
    set: "value = (t.value + 7) & 1023",
    rekey: "id = nextval('key_seq')",
    ddl: `create table ${name} (
      id bigint primary key default nextval('key_seq'), seq bigint not null default nextval('change_seq'), value integer not null)`,
  };
}

/** The name of a table's row, as SQL; null without a key. */
export function docname({ key }: WatchedTable, row: string): string {
  return key.length === 0 ? "null" : `docname(${key.map((column) => `${row}.${column}::text`).join(", ")})`;
}
