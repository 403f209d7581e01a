-- The example of docker-compose.yml: one table and one webhook on it. Runs at every start, changes nothing twice.

-- The application's own role. Walhook acts for the owners of the tables that it watches, and for nobody else.
do $$
begin
  if not exists (select from pg_roles where rolname = 'shop') then
    create role shop nologin;
  end if;
end $$;
grant shop to walhook_owner;

create table if not exists orders (
  id bigint generated always as identity primary key,
  customer text not null,
  total numeric(12, 2) not null check (total >= 0),
  status text not null default 'Draft',
  created_at timestamptz not null default now()
);
alter table orders owner to shop;

insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, enable_security, webhook_secret)
select 'new-order', 'orders', 'after_insert, on_update', 'http://receiver:8080/new-order', true,
       'whsec_d2FsaG9vay1jb21wb3NlLWV4YW1wbGUtc2VjcmV0'
where not exists (select from walhook.webhook where name = 'new-order');
