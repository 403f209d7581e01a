import type pg from "pg";
import { docname, type WatchedTable } from "./watched-table.ts";

/**
 * Changes of a table, each in one statement with its ledger rows: where the one is rolled back, by whatever, the
 * other is as well. So the ledger needs no knowledge of how a transaction ended.
 */
export interface Changes {
  /** Inserts so many rows, filled from numbers beginning with `from`. */
  insert(table: WatchedTable, count: number, from: number): Promise<void>;
  /** Updates up to so many rows that nobody else has locked, from a place between 0 (oldest) and 1 on. */
  update(table: WatchedTable, count: number, place: number): Promise<void>;
  /** The same with other keys or partitions. */
  rekey(table: WatchedTable, count: number, place: number): Promise<void>;
  /** Deletes up to so many rows; returns their names. */
  remove(table: WatchedTable, count: number, place: number): Promise<readonly string[]>;
  truncate(table: WatchedTable): Promise<void>;
}

export function changesOn(client: pg.Client): Changes {
  const update = async (table: WatchedTable, set: string, count: number, place: number): Promise<void> => {
    await client.query(
      `with chosen as (${chosen(table)}),
       changed as (
         update ${table.name} t set seq = nextval('change_seq'), ${set} from chosen c where ${sameKey(table)}
         returning t.*, ${docname(table, "c")} as old_docname, (${table.updateEvents ?? "'{on_update,on_change}'"})::text[] as events)
       insert into ledger (seq, doctype, events, docname, old_docname, row_seq, doc)
       select seq, '${table.name}', events, ${docname(table, "n")}, nullif(old_docname, ${docname(table, "n")}), seq,
         to_jsonb(n) - 'old_docname' - 'events' from changed n`,
      [place, count],
    );
  };
  return {
    insert: async (table, count, from) => {
      const columns = Object.keys(table.fill);
      const values = Object.values(table.fill).map((value) => value.replaceAll("$n", "g.n"));
      await client.query(
        `with changed as (
           insert into ${table.name} (${columns.join(", ")})
           select ${values.join(", ")} from generate_series($1::bigint, $1::bigint + $2::bigint - 1) as g (n) returning *)
         ${ledgerOfInserts(table)} from changed n`,
        [from, count],
      );
    },
    update: (table, count, place) => update(table, table.set, count, place),
    rekey: (table, count, place) => update(table, table.rekey ?? table.set, count, place),
    remove: async (table, count, place) => {
      const { rows } = await client.query<{ docname: string }>(
        `with chosen as (${chosen(table)}),
         changed as (delete from ${table.name} t using chosen c where ${sameKey(table)} returning t.*)
         insert into ledger (seq, doctype, events, docname, row_seq, doc)
         select nextval('change_seq'), '${table.name}', '{on_trash}', ${docname(table, "n")}, seq, to_jsonb(n) from changed n
         returning docname`,
        [place, count],
      );
      return rows.map((row) => row.docname);
    },
    truncate: async ({ name }) => {
      await client.query(`truncate ${name}`);
      // After the lock is there: what came before has a smaller number.
      await client.query(
        `insert into ledger (seq, doctype, events) values (nextval('change_seq'), '${name}', '{on_truncate}')`,
      );
    },
  };
}

/** Begins the statement that writes what was inserted, rows `n`, into the ledger. */
export function ledgerOfInserts(table: WatchedTable): string {
  return `insert into ledger (seq, doctype, events, docname, row_seq, doc)
    select seq, '${table.name}', (${table.insertEvents ?? "'{after_insert,on_change}'"})::text[], ${docname(table, "n")}, seq, to_jsonb(n)`;
}

/** Rows that nobody has locked. $1: from which place on; $2: how many. */
function chosen({ name }: WatchedTable): string {
  return `select * from ${name}
    where seq >= (select min(seq) + $1::float8 * (max(seq) - min(seq)) from ${name})
    order by seq limit $2::bigint for update skip locked`;
}

function sameKey({ key }: WatchedTable): string {
  return key.map((column) => `t.${column} = c.${column}`).join(" and ");
}
