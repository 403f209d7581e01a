-- The torture test's application: a table for each trait, and the ledger that says what was committed.
-- Runs as the role that owns the tables.

-- Every change takes its number here while it holds the lock of its row, so numbers order the changes of a document.
create sequence change_seq;
-- Keys are never used twice, but by transactions that free one and take it again.
create sequence key_seq;

create table simple (
  id bigint primary key default nextval('key_seq'),
  seq bigint not null default nextval('change_seq'),
  value integer not null,
  note text
);

create table composite (
  region text not null default 'north',
  no bigint not null default nextval('key_seq'),
  seq bigint not null default nextval('change_seq'),
  value integer not null,
  primary key (region, no)
);

-- Long values outside of the row: an UPDATE beside them leaves them out of the WAL.
create table toasted (
  id bigint primary key default nextval('key_seq'),
  seq bigint not null default nextval('change_seq'),
  value integer not null,
  body text not null
);
alter table toasted alter column body set storage external;

create table parted (
  id bigint not null default nextval('key_seq'),
  part text not null default 'a',
  seq bigint not null default nextval('change_seq'),
  value integer not null,
  primary key (id, part)
) partition by list (part);
create table parted_a partition of parted for values in ('a');
create table parted_b partition of parted for values in ('b');
create table parted_c partition of parted default;

create table keyless (
  seq bigint not null default nextval('change_seq'),
  value integer not null
);

create type mood as enum ('calm', 'busy', 'öde');
create domain price as numeric(12, 4) check (value >= 0);
create table typed (
  id uuid primary key default gen_random_uuid(),
  seq bigint not null default nextval('change_seq'),
  value integer not null,
  feeling mood,
  price price,
  wide numeric,
  data jsonb,
  tags text[],
  raw bytea,
  at timestamptz,
  span interval
);

-- Submittable: 0 draft, 1 submitted, 2 cancelled.
create table paper (
  id bigint primary key default nextval('key_seq'),
  seq bigint not null default nextval('change_seq'),
  value integer not null,
  docstatus smallint not null default 0
);

-- By which the workload picks rows.
create index on simple (seq);
create index on composite (seq);
create index on toasted (seq);
create index on parted (seq);
create index on typed (seq);
create index on paper (seq);

create table unwatched (id bigint generated always as identity primary key, filler text not null);

-- One row a committed change, written by the statement that makes it.
create table ledger (
  -- Orders the changes of each document, and a TRUNCATE among all of its table.
  seq bigint not null,
  doctype text not null,
  events text[] not null,
  docname text,
  old_docname text,
  -- The number in the row that the event shows; of an on_trash the number of the change before it.
  row_seq bigint,
  doc jsonb,
  xid bigint not null default (pg_current_xact_id()::text::numeric % 4294967296)::bigint
);

create function docname(variadic key text[]) returns text
  language sql immutable
  return case when cardinality(key) = 1 then key[1] else array_to_json(key)::text end;
