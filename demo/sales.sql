-- The demo's sales database: an ordinary application's tables, which know nothing of webhooks.
-- Owned by shop_owner, written to by shop_app. Runs once, in an empty database.

create type order_status as enum ('Draft', 'Confirmed', 'Paid', 'Shipped', 'Cancelled');
create domain email as text check (value like '%_@_%');

create table customer (
  id integer generated always as identity primary key,
  name text not null,
  email email not null,
  city text,
  credit_limit numeric(12, 2) not null default 1000
);

create table product (
  sku text primary key,
  title text not null,
  price numeric(10, 2) not null,
  stock integer not null
);

create table orders (
  id bigint generated always as identity (start with 1001) primary key,
  customer_id integer not null references customer,
  status order_status not null default 'Draft',
  total numeric(12, 2) not null default 0,
  currency char(3) not null default 'EUR',
  placed_at timestamptz not null default now(),
  note text
);

-- A composite key.
create table order_item (
  order_id bigint not null references orders on delete cascade,
  line_no smallint not null,
  sku text not null references product,
  quantity integer not null,
  price numeric(10, 2) not null,
  primary key (order_id, line_no)
);

-- A document that is submitted and cancelled, as in Frappe: docstatus 0 draft, 1 submitted, 2 cancelled.
create table invoice (
  name text primary key,
  order_id bigint not null references orders,
  amount numeric(12, 2) not null,
  due_on date not null,
  docstatus smallint not null default 0
);

-- Partitioned by month, as time series are.
create table measurement (
  sensor text not null,
  measured_at timestamptz not null,
  celsius numeric(5, 2) not null,
  primary key (sensor, measured_at)
) partition by range (measured_at);

do $$
declare
  month timestamptz := date_trunc('month', now(), 'UTC') - interval '1 month';
begin
  for i in 0..13 loop
    execute format(
      'create table %I partition of measurement for values from (%L) to (%L)',
      'measurement_' || to_char(month at time zone 'UTC', 'YYYY_MM'), month, month + interval '1 month'
    );
    month := month + interval '1 month';
  end loop;
end $$;

-- A wide table: many types, as real ones have.
create table shipment (
  id uuid primary key default gen_random_uuid(),
  order_id bigint not null references orders,
  is_express boolean not null default false,
  parcels integer not null,
  weight_kg double precision not null,
  insured numeric(20, 4),
  label bytea,
  address jsonb not null,
  tags text[] not null default '{}',
  stops point[],
  window_of tstzrange,
  ready_at timestamp,
  picked_up_on date,
  slot time,
  transit interval,
  tracking_ip inet,
  checksum bit(8),
  volume numeric(12, 3) generated always as (parcels * 0.125) stored
);

-- No key at all: rows are only ever added.
create table audit_line (
  at timestamptz not null default clock_timestamp(),
  who text not null,
  what text not null
);

insert into customer (name, email, city)
select name, lower(split_part(name, ' ', 1)) || '@example.org', city
from unnest(
  array['Ada Lovelace', 'Grace Hopper', 'Alan Turing', 'Edsger Dijkstra', 'Barbara Liskov', 'Ken Thompson',
        'Frances Allen', 'Tony Hoare', 'Radia Perlman', 'Niklaus Wirth', 'Katherine Johnson', 'José Ångström'],
  array['London', 'New York', 'Manchester', 'Rotterdam', 'Boston', 'New Orleans',
        'Peru', 'Oxford', 'Portsmouth', 'Winterthur', 'Hampton', 'Malmö']
) as person (name, city);

insert into product (sku, title, price, stock) values
  ('CHAIR-01', 'Oak chair', 129.00, 400),
  ('DESK-02', 'Standing desk', 549.00, 120),
  ('LAMP-03', 'Reading lamp "Nova"', 39.90, 900),
  ('SHELF-04', 'Shelf, 5 boards', 89.50, 260),
  ('SOFA-05', 'Two-seat sofa', 899.00, 45),
  ('RUG-06', 'Wool rug 2 × 3 m', 249.00, 80),
  ('MUG-07', 'Mug ☕', 9.95, 3000),
  ('PLANT-08', 'Monstera', 24.00, 310);

grant select, insert, update, delete on all tables in schema public to shop_app;
grant usage on all sequences in schema public to shop_app;
grant select on all tables in schema public to shop_admin;
