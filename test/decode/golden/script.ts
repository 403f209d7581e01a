/** Tables of every trait that shows in the bytes. */
export const SETUP = `
  create schema "Odd Schema";
  create type mood as enum ('sad', 'ok');
  create domain positive as numeric check (value > 0);
  create type pair as (x int, y text);
  create table plain (id int primary key, note text, amount numeric(10, 2), at timestamptz);
  create table "Odd Schema"."Mixed Case" ("Key" text, part int, "note ü" text, primary key (part, "Key"));
  create table whole (id bigint primary key, big text, docstatus smallint);
  alter table whole replica identity full;
  alter table whole alter big set storage external;
  create table short (id int primary key, big text);
  alter table short alter big set storage external;
  create table indexed (code text not null, other text);
  create unique index indexed_code on indexed (code);
  alter table indexed replica identity using index indexed_code;
  create table keyless (value text);
  create table typed (id int primary key, m mood, p positive, pairs pair[], j jsonb, b bytea, r int4range, f float8);
  create table generated (id int primary key, a int, b int generated always as (a * 2) stored);
  create table root (id int, part text, note text, primary key (id, part)) partition by list (part);
  create table leaf_a partition of root for values in ('a');
  create table leaf_b partition of root for values in ('b');
  alter table leaf_b replica identity full;
  create table unpublished (id int)`;

export const PUBLISHED = 'plain, "Odd Schema"."Mixed Case", whole, short, indexed, keyless, typed, generated, root';

/** What the catalog would say of a table's key, where it has one. */
export const KEYS: Readonly<Record<string, readonly string[]>> = {
  plain: ["id"],
  "Mixed Case": ["part", "Key"],
  whole: ["id"],
  short: ["id"],
  typed: ["id"],
  generated: ["id"],
  root: ["id", "part"],
};

const BIG = "repeat('x', 2100)";

/** Each is one transaction, unless it says otherwise. `%origin` is a replication origin. */
export const STATEMENTS: readonly string[] = [
  "insert into plain values (1, 'a', 2.50, '2026-01-02 03:04:05.678901+00'), (2, '', null, 'infinity'), (3, null, 'NaN', null)",
  "update plain set note = 'Grüße, 世界 🙂' where id = 1",
  "update plain set id = 4 where id = 3",
  "delete from plain where id = 2",
  `insert into "Odd Schema"."Mixed Case" values ('k', 1, 'n'); update "Odd Schema"."Mixed Case" set part = 2; delete from "Odd Schema"."Mixed Case"`,
  `insert into whole values (9223372036854775807, ${BIG}, 0)`,
  "update whole set docstatus = 1",
  "delete from whole",
  `insert into short values (1, ${BIG})`,
  "update short set id = 2",
  "insert into indexed values ('c', 'o'); update indexed set other = null; update indexed set code = 'd'; delete from indexed",
  "insert into keyless values ('v'), (null)",
  `insert into typed values (1, 'ok', 0.50, '{"(1,a)","(2,\\"b c\\")"}', '{"a": [1, null]}', '\\x00ff', '[1,5)', 0.1)`,
  "insert into generated values (1, 21); update generated set a = 22",
  "insert into root values (1, 'a', 'n'), (2, 'b', 'n')",
  "update root set note = 'm'",
  "update root set part = 'b' where id = 1",
  "delete from root where id = 2",
  "begin; insert into plain values (10, 's'); savepoint s; insert into plain values (11, 'no'); rollback to s; insert into plain values (12, 's'); commit",
  "begin; insert into plain values (13, 'no'); rollback",
  "insert into unpublished values (1)",
  "select pg_logical_emit_message(true, 'prefix', 'content'); insert into plain values (20)",
  "select pg_logical_emit_message(false, 'prefix', 'outside')",
  "begin; select pg_replication_origin_session_setup('%origin'); select pg_replication_origin_xact_setup('0/1234', now()); insert into plain values (21); commit; select pg_replication_origin_session_reset()",
  "begin; alter table plain add extra int default 7; insert into plain (id) values (22); commit",
  "alter table plain rename note to remark; alter table plain drop amount; update plain set remark = 'r' where id = 22",
  "truncate plain, whole restart identity cascade",
  "insert into keyless values ('last')",
];
