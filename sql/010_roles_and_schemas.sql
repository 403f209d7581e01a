-- Walhook 010: roles and schemas.
--
-- Every file of this folder is one transaction, runs in the order of its number, also by `psql -f`, and may be
-- run again. Each becomes the owner of schema walhook for its own transaction and records itself in
-- walhook.migration.
--
-- Roles are optional. Where the installing role may not create them (neither superuser nor CREATEROLE),
-- it owns everything itself and is the bridge too; the grants to roles that do not exist are skipped.
begin;

do $$
declare
  installer constant name := current_user;
  is_super constant boolean := (select rolsuper from pg_catalog.pg_roles where rolname = installer);
  may_create constant boolean := (select rolsuper or rolcreaterole from pg_catalog.pg_roles where rolname = installer);
  -- From 16 on, membership without SET does not let the installer act as the role.
  modern constant boolean := current_setting('server_version_num')::integer >= 160000;
  wanted text[];
  role_name text;
  owner name;
begin
  if exists (select from pg_catalog.pg_namespace where nspname = 'walhook') then
    return;
  end if;

  -- Roles belong to the whole cluster: another database may be installing at this moment.
  foreach role_name in array array['walhook_owner', 'walhook_bridge', 'walhook_sandbox', 'walhook_admin',
                                   'walhook_analyst', 'walhook_monitor'] loop
    if exists (select from pg_catalog.pg_roles where rolname = role_name) then
      continue;
    elsif not may_create then
      raise notice 'role % does not exist and % may not create it: skipped', role_name, installer
        using hint = 'Walhook works without it. To have it, install as a superuser or a role with CREATEROLE.';
    else
      begin
        execute format('create role %I nologin', role_name);
      exception when duplicate_object or unique_violation then
        null;
      end;
    end if;
  end loop;

  -- A CREATEROLE installer must be able to act as the two roles that own objects.
  if not is_super then
    foreach role_name in array array['walhook_owner', 'walhook_sandbox'] loop
      begin
        if modern then
          execute format('grant %I to %I with inherit true, set true', role_name, installer);
        else
          execute format('grant %I to %I', role_name, installer);
        end if;
      exception when insufficient_privilege or undefined_object or unique_violation then
        null;
      end;
    end loop;
  end if;

  owner := installer;
  if exists (select from pg_catalog.pg_roles where rolname = 'walhook_owner') then
    if pg_has_role(installer, 'walhook_owner', case when modern then 'SET' else 'MEMBER' end) then
      owner := 'walhook_owner';
    else
      raise notice 'role % may not act as walhook_owner: it owns everything itself', installer;
    end if;
  end if;

  if not has_database_privilege(installer, current_database(), 'CREATE') then
    raise exception 'role % may not create schemas in database %', installer, current_database()
      using errcode = 'insufficient_privilege',
            hint = format('As its owner: grant create on database %I to %I with grant option;', current_database(), installer);
  end if;
  -- Publications need CREATE on the database.
  if not has_database_privilege(owner, current_database(), 'CREATE') then
    if not has_database_privilege(installer, current_database(), 'CREATE WITH GRANT OPTION') then
      raise exception 'walhook_owner needs CREATE on database %, for its publications, and % may not grant it',
        current_database(), installer
        using errcode = 'insufficient_privilege',
              hint = format('As its owner: grant create on database %I to walhook_owner;', current_database());
    end if;
    execute format('grant create on database %I to %I', current_database(), owner);
  end if;

  execute format('create schema walhook authorization %I', owner);
end $$;

select set_config('role', pg_get_userbyid(nspowner), true) from pg_catalog.pg_namespace where nspname = 'walhook';

create schema if not exists walhook_condition;

comment on schema walhook is 'Walhook: row changes as webhooks. Configure in walhook.webhook, read walhook.webhook_request_log.';
comment on schema walhook_condition is 'Walhook: the functions made of the webhooks'' conditions, each owned by its author.';

create table if not exists walhook.migration (
  version integer constraint migration_pkey primary key,
  name text not null,
  applied_at timestamptz not null default now()
);
comment on table walhook.migration is 'The numbered SQL files that made this schema.';
comment on column walhook.migration.version is 'Number of the file.';
comment on column walhook.migration.name is 'Name of the file, without number and extension.';
comment on column walhook.migration.applied_at is 'When it was applied.';

insert into walhook.migration (version, name) values (10, 'roles_and_schemas') on conflict do nothing;

commit;
