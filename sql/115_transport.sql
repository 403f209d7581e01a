-- Walhook 115: through which proxy a webhook's requests leave, and with which certificates.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

alter table walhook.webhook
  add column if not exists proxy text
    constraint webhook_proxy_is_url check (proxy = 'direct' or proxy ~ '^(http|https|socks|socks4|socks4a|socks5|socks5h)://[^/@?#[:space:]]+/?$'),
  add column if not exists tls_profile text
    constraint webhook_tls_profile_is_name check (tls_profile ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  add column if not exists tls_min_version text not null default '1.2'
    constraint webhook_tls_min_version_is_known check (tls_min_version in ('1.2', '1.3'));

comment on column walhook.webhook.proxy is
  'URL of the proxy that its requests go through: http, https, socks4, socks4a, socks5 or socks5h, without credentials; direct: none; NULL: what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY of the bridge say.';
comment on column walhook.webhook.tls_profile is
  'Name of certificates in the operator''s WALHOOK_TLS_DIRECTORY: <name>.ca.pem (authorities instead of the usual ones), <name>.cert.pem with <name>.key.pem (what it shows of itself). NULL: none.';
comment on column walhook.webhook.tls_min_version is 'The oldest version of TLS that it speaks: 1.2 or 1.3.';

insert into walhook.migration (version, name) values (115, 'transport') on conflict do nothing;

commit;
