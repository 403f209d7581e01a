-- Walhook 201: names of documents in bounded length. A primary key may be longer as text than an index takes, and then the queue and the
-- log would refuse the row. So they hold a longer name shortened, by a rule that the bridge has too (src/events/short-name.ts).
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create or replace function walhook.short_name(docname text) returns text
  language sql stable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
  select case when octet_length(w.bytes) <= 1800 then docname
           -- Cut where a character begins, which one of four bytes in a row does.
           else convert_from(substring(w.bytes for (select max(n) from generate_series(1797, 1800) n where get_byte(w.bytes, n) & 192 <> 128)), 'UTF8')
             || '...sha256:' || encode(sha256(w.bytes), 'hex') end
    from (select convert_to(docname, 'UTF8') as bytes) w
$$;
comment on function walhook.short_name(text) is
  'A document''s name as the queue and the log have it: a name of more than 1,800 bytes in UTF-8 is its first 1,800 (up to three fewer, so that no character is cut), "...sha256:" and the SHA-256 of all of it in hex; any other is as it is. To look for a long name: where docname = walhook.short_name(''…'').';

create or replace function walhook.is_short_name(docname text) returns boolean
  language sql stable strict parallel safe set search_path = pg_catalog, pg_temp
as $$
  select octet_length(convert_to(docname, 'UTF8')) between 1871 and 1874 and right(docname, 74) ~ '^\.\.\.sha256:[0-9a-f]{64}$'
$$;
comment on function walhook.is_short_name(text) is 'Whether it looks as walhook.short_name makes it of a longer name.';

-- What an earlier version has put into the queue stays in the lane of what comes now.
with named as (
  select q.delivery_id, case when walhook.is_short_name(q.docname) then q.docname else walhook.short_name(q.docname) end as docname,
         case when walhook.is_short_name(q.old_docname) then q.old_docname else walhook.short_name(q.old_docname) end as old_docname
    from walhook.webhook_queue q where char_length(q.docname) > 450 or char_length(q.old_docname) > 450
)
update walhook.webhook_queue q set docname = n.docname, old_docname = n.old_docname
  from named n where n.delivery_id = q.delivery_id and (q.docname, q.old_docname) is distinct from (n.docname, n.old_docname);

comment on column walhook.webhook_queue.docname is 'Primary key of the row as text; a long one is shortened, see walhook.short_name.';
comment on column walhook.webhook_request_log.docname is 'Primary key of the row as text; a long one is shortened, see walhook.short_name. NULL where the table has none.';
comment on column walhook.webhook_decision.docname is 'Primary key of the row as text; a long one is shortened, see walhook.short_name.';

revoke all on function walhook.short_name(text), walhook.is_short_name(text) from public;
do $$
begin
  perform walhook.grant_to_roles(array[
    'grant execute on function walhook.short_name(text), walhook.is_short_name(text) to walhook_admin',
    'grant execute on function walhook.short_name(text), walhook.is_short_name(text) to walhook_analyst']);
end $$;

insert into walhook.migration (version, name) values (201, 'long_names') on conflict do nothing;

commit;
