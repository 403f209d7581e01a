-- Walhook 100: signing. Several secrets for one webhook, rotation, references to secrets, public keys, formats of signatures.
begin;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

-- Several secrets for one webhook -----------------------------------------------------------------------------------

alter table walhook.webhook_secret
  add column if not exists id bigint generated always as identity,
  -- What stands there was taken as it is, whatever it begins with, and stays so.
  add column if not exists kind text not null default 'symmetric'
    constraint webhook_secret_kind_is_known check (kind in ('symmetric', 'ed25519', 'reference')),
  add column if not exists public_key text,
  add column if not exists created_at timestamptz not null default now(),
  add column if not exists expires_at timestamptz,
  add column if not exists expires_at_ms bigint;

comment on table walhook.webhook_secret is
  'Signing secrets, one or several a webhook; readable by the bridge alone. Written by the trigger on walhook.webhook.';
comment on column walhook.webhook_secret.id is 'Number of the secret; a later one has a greater number.';
comment on column walhook.webhook_secret.secret is
  'The secret''s text: whsec_ and base64, whsk_ and base64, env: or file: and where the bridge finds it, or any other text.';
comment on column walhook.webhook_secret.kind is
  'symmetric: HMAC-SHA256; ed25519: an asymmetric key; reference: the bridge reads the secret elsewhere, and sees what it is.';
comment on column walhook.webhook_secret.public_key is 'whpk_ and base64 of the public key of an ed25519 secret. Filled by trigger.';
comment on column walhook.webhook_secret.created_at is 'When it was written.';
comment on column walhook.webhook_secret.expires_at is 'From then on nothing is signed with it, see walhook.rotate_secret; NULL: never.';
comment on column walhook.webhook_secret.expires_at_ms is 'expires_at in milliseconds since 1970. Filled by trigger.';
comment on column walhook.webhook_in_force.definition is
  'Its rows as texts: {"webhook": {column: text}, "headers": [...], "data": [...], "secrets": [...]}. Holds the secrets: readable by the bridge alone.';

create or replace function walhook.fill_secret() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  new.public_key := case when new.kind = 'ed25519'
    then 'whpk_' || encode(substr(decode(substr(new.secret, 6), 'base64'), 33, 32), 'base64') end;
  new.expires_at_ms := floor(extract(epoch from new.expires_at) * 1000);
  return new;
end $$;
comment on function walhook.fill_secret() is 'Trigger: fills public_key and expires_at_ms.';

create or replace trigger webhook_secret_10_fill before insert or update on walhook.webhook_secret
  for each row execute function walhook.fill_secret();

create index if not exists webhook_secret_webhook_id_idx on walhook.webhook_secret (webhook_id);

do $$
begin
  if exists (
    select from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = k.conkey[1]
     where k.conrelid = 'walhook.webhook_secret'::regclass and k.contype = 'p' and a.attname = 'webhook_id') then
    alter table walhook.webhook_secret drop constraint webhook_secret_pkey, add constraint webhook_secret_pkey primary key (id);
    -- So that a bridge which goes on in the WAL learns the numbers of the rows that it knows.
    update walhook.webhook_secret s set created_at = s.created_at;
  end if;
end $$;

-- What a secret may be ----------------------------------------------------------------------------------------------

create or replace function walhook.check_secret(webhook text, secret text) returns text
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  base64 constant text := '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?$';
  digits text;
begin
  if secret = '' then
    raise exception 'webhook "%": webhook_secret is empty', webhook using errcode = 'invalid_parameter_value', hint = 'NULL removes a secret.';
  elsif secret ~ '^env:' then
    if secret !~ '^env:WALHOOK_SECRET_[A-Za-z0-9_]+$' then
      raise exception 'webhook "%": env: must name a variable that begins with WALHOOK_SECRET_', webhook using errcode = 'invalid_parameter_value',
        detail = 'So nobody can sign with, and then guess, what else stands in the environment of the bridge.',
        hint = 'For example env:WALHOOK_SECRET_ORDERS.';
    end if;
    return 'reference';
  elsif secret ~ '^file:' then
    if secret !~ '^file:[^[:cntrl:]]+$' then
      raise exception 'webhook "%": file: must be followed by a path', webhook using errcode = 'invalid_parameter_value',
        hint = 'For example file:orders.key, in the folder that the bridge knows as --secrets-folder (/run/secrets).';
    end if;
    return 'reference';
  elsif secret ~ '^whpk_' then
    raise exception 'webhook "%": whpk_ is a public key, which signs nothing', webhook using errcode = 'invalid_parameter_value',
      hint = 'The private one begins with whsk_.';
  elsif secret ~ '^whsk_' then
    digits := substr(secret, 6);
    if digits !~ '^[A-Za-z0-9+/]{86}==$' then
      raise exception 'webhook "%": whsk_ must be followed by base64 of 64 bytes, an ed25519 seed and its public key', webhook
        using errcode = 'invalid_parameter_value', hint = 'Make one by: walhook keys generate --kind ed25519.';
    end if;
    return 'ed25519';
  elsif secret ~ '^whsec_' then
    digits := rtrim(substr(secret, 7), '=');
    if substr(secret, 7) !~ base64 or digits = '' then
      raise exception 'webhook "%": after whsec_ the secret must be base64', webhook using errcode = 'invalid_parameter_value',
        hint = 'Any text without that prefix is taken as it is.';
    end if;
    if octet_length(decode(rpad(digits, ((char_length(digits) + 3) / 4) * 4, '='), 'base64')) not between 24 and 64 then
      raise notice 'webhook "%": a whsec_ secret should have 24 to 64 random bytes', webhook;
    end if;
  else
    raise notice 'webhook "%": the secret is used as it stands; receivers that use a Standard Webhooks library expect whsec_ and base64 of 24 to 64 random bytes', webhook;
  end if;
  return 'symmetric';
end $$;
comment on function walhook.check_secret(text, text) is 'The kind of a secret''s text; refuses what could never sign.';

-- Where it goes -----------------------------------------------------------------------------------------------------

create or replace function walhook.store_secret(number integer, webhook text, secret text, change jsonb) returns void
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  new_kind constant text := walhook.check_secret(webhook, secret);
  mode constant text := coalesce(change ->> 'mode', 'replace');
  grace constant interval := make_interval(secs => coalesce((change ->> 'grace_s')::double precision, 0));
  others constant text[] := array(
    select s.kind from walhook.webhook_secret s where s.webhook_id = number and s.expires_at is null and s.secret <> store_secret.secret);
begin
  if mode = 'rotate' and grace not between interval '0 s' and interval '7 days' then
    raise exception 'webhook "%": the grace is %', webhook, grace using errcode = 'invalid_parameter_value', hint = 'It is between 0 s and 7 days.';
  end if;
  if mode = 'rotate' and cardinality(others) > 1 and (new_kind = 'reference' or 'reference' = any (others) or not new_kind = any (others)) then
    raise exception 'webhook "%": it has % secrets, and the new one does not tell which of them it replaces', webhook, cardinality(others)
      using errcode = 'invalid_parameter_value',
      hint = 'update walhook.webhook set webhook_secret = … replaces all of them at once; walhook.add_secret adds one.';
  end if;
  -- Those that sign nothing any more; also the same text, which would sign twice.
  delete from walhook.webhook_secret s
   where s.webhook_id = number and (mode = 'replace' or s.expires_at <= now() or s.secret = store_secret.secret);
  if mode = 'rotate' then
    update walhook.webhook_secret s set expires_at = least(s.expires_at, now() + grace)
     where s.webhook_id = number and (cardinality(others) <= 1 or s.kind = new_kind);
    delete from walhook.webhook_secret s where s.webhook_id = number and s.expires_at <= now();
  end if;
  if (select count(*) from walhook.webhook_secret s where s.webhook_id = number) >= 10 then
    raise exception 'webhook "%": it has 10 secrets that sign', webhook using errcode = 'program_limit_exceeded',
      hint = 'Each costs every request a signature. Rotate with a shorter grace, or replace all of them: update walhook.webhook set webhook_secret = ….';
  end if;
  insert into walhook.webhook_secret (webhook_id, secret, kind) values (number, secret, new_kind);
end $$;
comment on function walhook.store_secret(integer, text, text, jsonb) is
  'Stores a webhook''s secret: in place of all others, beside them ({"mode": "add"}), or in place of its like after a grace ({"mode": "rotate", "grace_s": n}). Called by walhook.move_secret.';

create or replace function walhook.move_secret() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
  mark constant text := '*** of the row proposed';
  secrets constant jsonb := coalesce(nullif(current_setting('walhook.secrets', true), ''), '{}')::jsonb;
  change constant jsonb := coalesce(nullif(current_setting('walhook.secret_change', true), ''), '{}')::jsonb;
  secret text := new.webhook_secret;
begin
  if secret is null then
    delete from walhook.webhook_secret s where s.webhook_id = new.id;
    return new;
  elsif tg_op = 'UPDATE' and secret = mark and secrets ? new.name then
    secret := secrets ->> new.name;
  elsif secret = '***' or secret = mark then
    if tg_op = 'INSERT' or not exists (select from walhook.webhook_secret s where s.webhook_id = new.id) then
      raise exception 'webhook "%": *** stands for a stored secret, and there is none', new.name using errcode = 'invalid_parameter_value',
        hint = 'Secrets cannot be read back: write the secret itself.';
    end if;
    new.webhook_secret := '***';
    return new;
  end if;

  if tg_op = 'INSERT' then
    perform walhook.check_secret(new.name, secret);
    perform set_config('walhook.secrets', (secrets || jsonb_build_object(new.name, secret))::text, true);
    -- Only with ON CONFLICT does the statement go on from here.
    new.webhook_secret := case when exists (select from walhook.webhook w where w.name = new.name) then mark else '***' end;
  else
    perform walhook.store_secret(new.id, new.name, secret, case when change ->> 'webhook_id' = new.id::text then change end);
    new.webhook_secret := '***';
  end if;
  return new;
end $$;

-- Its notices were given before the row was stored.
create or replace function walhook.keep_secret() returns trigger
  language plpgsql security definer set search_path = pg_catalog, pg_temp set client_min_messages = warning
as $$
declare
  secret constant text := current_setting('walhook.secrets')::jsonb ->> new.name;
begin
  perform walhook.store_secret(new.id, new.name, secret, null);
  return null;
end $$;
comment on column walhook.webhook.webhook_secret is
  'Write the secret here; it is moved to a table that only the bridge reads, and *** stays. It replaces all that the webhook had, at once: walhook.rotate_secret leaves the former one a grace. NULL removes all.';

-- Making and changing secrets -----------------------------------------------------------------------------------------

create or replace function walhook.generate_secret(bytes integer default 32) returns text
  language plpgsql volatile security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  random bytea := '';
  uuid bytea;
begin
  if bytes is null or bytes not between 24 and 64 then
    raise exception 'a secret of % bytes', coalesce(bytes::text, 'NULL') using errcode = 'invalid_parameter_value', hint = 'It has 24 to 64; 32 are enough.';
  end if;
  -- gen_random_uuid() is PostgreSQL's own way to pg_strong_random, the operating system's randomness, without an
  -- extension. Of a UUID's 16 bytes two hold its version and variant; the other 14 are random in every bit.
  while octet_length(random) < bytes loop
    uuid := decode(replace(gen_random_uuid()::text, '-', ''), 'hex');
    random := random || substr(uuid, 1, 6) || substr(uuid, 8, 1) || substr(uuid, 10, 7);
  end loop;
  return 'whsec_' || replace(encode(substr(random, 1, bytes), 'base64'), E'\n', '');
end $$;
comment on function walhook.generate_secret(integer) is
  'A new symmetric secret: whsec_ and base64 of so many random bytes, 24 to 64. Asymmetric keys: walhook keys generate --kind ed25519.';

create or replace view walhook.signing_key with (security_barrier) as
  select s.id, w.name as webhook, s.kind, s.public_key, case when s.kind = 'reference' then s.secret end as reference, s.created_at, s.expires_at
  from walhook.webhook_secret s join walhook.webhook w on w.id = s.webhook_id
  where s.expires_at is null or s.expires_at > now();
comment on view walhook.signing_key is
  'What each webhook signs with, without anything secret: several keys of one webhook sign side by side. `walhook keys jwks` prints the public ones.';
comment on column walhook.signing_key.id is 'Number of the secret; a later one has a greater number.';
comment on column walhook.signing_key.webhook is 'Name of the webhook.';
comment on column walhook.signing_key.kind is 'symmetric, ed25519, or reference: what the bridge finds there says.';
comment on column walhook.signing_key.public_key is 'whpk_ and base64, of an ed25519 key.';
comment on column walhook.signing_key.reference is 'Where the bridge finds the secret, of a reference.';
comment on column walhook.signing_key.created_at is 'When it was written.';
comment on column walhook.signing_key.expires_at is 'When it stops signing, after a rotation; NULL: never.';

create or replace function walhook.change_secret(webhook text, secret text, mode text, grace interval) returns text
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  number constant integer := (select w.id from walhook.webhook w where w.name = change_secret.webhook);
  chosen constant text := coalesce(secret, walhook.generate_secret());
begin
  if number is null then
    raise exception 'there is no webhook "%"', webhook using errcode = 'no_data_found', hint = 'Names stand in walhook.webhook.';
  elsif chosen like '***%' then
    raise exception 'webhook "%": *** is no secret', webhook using errcode = 'invalid_parameter_value', hint = 'Leave it out, and one is made.';
  end if;
  -- By an ordinary change of the webhook: who may not make one may not do this either, and who does it becomes the author.
  perform set_config('walhook.secret_change',
    jsonb_build_object('webhook_id', number, 'mode', mode, 'grace_s', extract(epoch from grace))::text, true);
  update walhook.webhook w set webhook_secret = chosen where w.id = number;
  perform set_config('walhook.secret_change', '', true);
  return chosen;
end $$;
comment on function walhook.change_secret(text, text, text, interval) is 'Changes a webhook''s secrets, and returns the new one. Called by walhook.rotate_secret and walhook.add_secret.';

create or replace function walhook.rotate_secret(webhook text, new_secret text default null, grace interval default '24 h') returns text
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
begin
  if grace is null or grace not between interval '0 s' and interval '7 days' then
    raise exception 'webhook "%": the grace is %', webhook, coalesce(grace::text, 'NULL') using errcode = 'invalid_parameter_value',
      hint = 'It is between 0 s (the former secret stops signing at once) and 7 days.';
  end if;
  if new_secret is null and exists (select from walhook.signing_key k where k.webhook = rotate_secret.webhook)
    and not exists (select from walhook.signing_key k where k.webhook = rotate_secret.webhook and k.expires_at is null and k.kind = 'symmetric') then
    raise exception 'webhook "%": its key cannot be made here', webhook using errcode = 'feature_not_supported',
      detail = 'It has no symmetric secret, and only such are made by SQL.',
      hint = 'Give the new one: walhook keys generate --kind ed25519 makes it.';
  end if;
  return walhook.change_secret(webhook, new_secret, 'rotate', grace);
end $$;
comment on function walhook.rotate_secret(text, text, interval) is
  'Gives a webhook a new secret, made or taken, and returns it, this once. The former one of its kind signs as well until the grace has ended, 0 to 7 days after now, whatever runs or does not.';

create or replace function walhook.add_secret(webhook text, new_secret text default null) returns text
  language sql security invoker set search_path = pg_catalog, pg_temp
as $$ select walhook.change_secret(webhook, new_secret, 'add', '0 s') $$;
comment on function walhook.add_secret(text, text) is
  'Gives a webhook one more secret, made or taken, beside those that it has, and returns it, this once: for example an ed25519 key beside a symmetric secret.';

-- Formats of signatures -----------------------------------------------------------------------------------------------

alter table walhook.webhook add column if not exists signature_formats text[] not null default '{standard,frappe}'
  constraint webhook_signature_formats_are_known
  check (cardinality(signature_formats) > 0 and signature_formats <@ '{standard,frappe,github,stripe}'::text[]);
comment on column walhook.webhook.signature_formats is
  'Which signatures a signed request carries: standard (webhook-signature, Standard Webhooks), frappe (X-Frappe-Webhook-Signature), github (X-Hub-Signature-256), stripe (Stripe-Signature). Several in braces; default {standard,frappe}.';

create or replace function walhook.validate_signing() returns trigger
  language plpgsql security invoker set search_path = pg_catalog, pg_temp
as $$
declare
  unknown text;
begin
  select f.format into unknown from unnest(new.signature_formats) as f (format)
   where f.format is null or f.format <> all ('{standard,frappe,github,stripe}') limit 1;
  if found or coalesce(cardinality(new.signature_formats), 0) = 0 then
    raise exception 'webhook "%": signature_formats is %', new.name, coalesce(new.signature_formats::text, 'NULL')
      using errcode = 'invalid_parameter_value', hint = 'Name some of standard, frappe, github, stripe; for example {standard,github}. enable_security = false signs nothing.';
  end if;
  return new;
end $$;
comment on function walhook.validate_signing() is 'Trigger: refuses signature formats that do not exist.';

create or replace trigger webhook_26_signing before insert or update on walhook.webhook
  for each row execute function walhook.validate_signing();

-- Rights --------------------------------------------------------------------------------------------------------------

revoke all on function walhook.fill_secret(), walhook.check_secret(text, text), walhook.store_secret(integer, text, text, jsonb),
  walhook.generate_secret(integer), walhook.change_secret(text, text, text, interval), walhook.rotate_secret(text, text, interval),
  walhook.add_secret(text, text), walhook.validate_signing() from public;

do $$
begin
  perform walhook.grant_to_roles(array[
    'grant select on walhook.signing_key to walhook_bridge',
    'grant select on walhook.signing_key to walhook_admin',
    'grant select on walhook.signing_key to walhook_analyst',
    'grant execute on function walhook.generate_secret(integer), walhook.change_secret(text, text, text, interval), '
      'walhook.rotate_secret(text, text, interval), walhook.add_secret(text, text), walhook.validate_signing() to walhook_admin'
  ]);
end $$;

insert into walhook.migration (version, name) values (100, 'signing') on conflict do nothing;

commit;
